/** Log lines that wait on the terminal's second screen until they can go where they belong. */
import { format } from "effect/Formatter"
import * as Logger from "effect/Logger"
import { CurrentLogAnnotations } from "effect/References"
import type { Style } from "../cli/screen.ts"
import type { LogLine } from "./frame.ts"
import { harmless } from "./text.ts"
import { timeOfDay } from "./times.ts"

const maxLogs = 100

export interface Kept extends LogLine {
  /** What is printed in the end. */
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

/** Whether this is how the stack logs an event: the view shows those itself. */
export const isOfEvent = ({ fiber }: Logger.Options<unknown>): boolean =>
  fiber.getRef(CurrentLogAnnotations)["stacksapi.event"] !== undefined

/** What is logged, in few words. */
export const brief: Logger.Logger<unknown, Kept> = Logger.make((options) => {
  const { annotations, cause, level, message } = Logger.formatStructured.log(options)
  const words = [
    level,
    ...(Array.isArray(message) ? message : [message]).map(textOf),
    ...Object.entries(annotations).map(([name, value]) => `${name}=${textOf(value)}`),
    ...(cause === undefined ? [] : [cause])
  ]
  const at = options.date.getTime()
  const text = harmless(words.join(" "))
  return { at, text, style: styles[level], full: `${timeOfDay(at)} ${text}` }
})

const styles: Readonly<Record<string, Style>> = { WARN: "yellow", ERROR: "red", FATAL: "red" }

const textOf = (value: unknown): string => (typeof value === "string" ? value : format(value))
