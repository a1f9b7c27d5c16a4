/** Keeps log lines while the live view is on the terminal. They are printed at the end. */
import * as Logger from "effect/Logger"
import { CurrentLogAnnotations } from "effect/References"
import { textOf, wordsOf } from "../terminal/messages.ts"
import { strip } from "../terminal/sanitize.ts"
import type { Style } from "../terminal/style.ts"
import { timeOfDay } from "../terminal/times.ts"
import type { LogLine } from "./frame.ts"

const maxLogs = 100

export interface Kept extends LogLine {
  /** The line that is printed at the end. */
  readonly full: string
}

export class Logs {
  #kept: ReadonlyArray<Kept> = []

  /** The last ones, oldest first. */
  get kept(): ReadonlyArray<Kept> {
    return this.#kept
  }

  add(log: Kept): void {
    this.#kept = [...this.#kept.slice(1 - maxLogs), log]
  }
}

/** Whether the stack logs an event: the view shows events itself. */
export const isOfEvent = ({ fiber }: Logger.Options<unknown>): boolean =>
  fiber.getRef(CurrentLogAnnotations)["stacksapi.event"] !== undefined

/** Formats a log entry for the live view. */
export const toKeptLog: Logger.Logger<unknown, Kept> = Logger.make((options) => {
  const { annotations, cause, level, message } = Logger.formatStructured.log(options)
  const words = [
    level,
    wordsOf(message),
    ...Object.entries(annotations).map(([name, value]) => `${name}=${textOf(value)}`),
    ...(cause === undefined ? [] : [cause])
  ]
  const at = options.date.getTime()
  const text = strip(words.join(" "))
  return { at, text, style: styles[level], full: `${timeOfDay(at)} ${text}` }
})

const styles: Readonly<Record<string, Style>> = { WARN: "yellow", ERROR: "red", FATAL: "red" }
