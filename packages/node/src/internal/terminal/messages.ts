/** Messages and log entries for the standard error of commands: as JSON, one object per line, with `--json`; else as text. */
import { format } from "effect/Formatter"
import * as Logger from "effect/Logger"
import * as Predicate from "effect/Predicate"
import * as Sanitize from "./sanitize.ts"
import { iso } from "./times.ts"

export interface Message {
  readonly level: "info" | "error"
  readonly message: string
  /** The job that it is about. */
  readonly jobUuid?: string | undefined
  /** With the message of a failed command: the exit status. */
  readonly exitStatus?: number | undefined
}

export const toJson = ({ message, ...fields }: Message, now: number): string =>
  Sanitize.json({ time: iso(now), ...fields, message })

/** A value of a log entry as text. */
export const textOf = (value: unknown): string => (Predicate.isString(value) ? value : format(value))

/** The message of a log entry, which may have several parts. */
export const wordsOf = (message: unknown): string => [message].flat().map(textOf).join(" ")

/** A log entry, with its annotations, and the cause of a failure. */
export const logToJson: Logger.Logger<unknown, string> = Logger.make((options) => {
  const { annotations, cause, level, message } = Logger.formatStructured.log(options)
  return Sanitize.json({
    time: options.date.toISOString(),
    level: level.toLowerCase(),
    message: wordsOf(message),
    ...(Object.keys(annotations).length > 0 && { annotations }),
    ...(cause !== undefined && { cause })
  })
})

/** A log entry as lines of text: time, level, message and annotations, then the cause. It may contain text of a service. */
export const logToLines: Logger.Logger<unknown, string> = Logger.make((options) => {
  const { annotations, cause, message } = Logger.formatStructured.log(options)
  const more = Object.keys(annotations).length > 0 ? ` ${format(annotations)}` : ""
  const head = `${options.date.toISOString()} ${options.logLevel.toUpperCase()}`
  const first = `${head} ${wordsOf(message)}${more}`
  return Sanitize.sanitizeLines([first, ...(cause === undefined ? [] : [cause])].join("\n"))
})
