/** Any value as a text, for messages. */
import * as Result from "effect/Result"

/** Some values throw when they are made a text. */
export const shown = (value: unknown): string =>
  Result.getOrElse(
    Result.try(() => (typeof value === "string" ? JSON.stringify(value) : String(value))),
    () => "a value that has no text"
  )
