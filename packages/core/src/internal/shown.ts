/** Any value as a text, for messages. */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"

/** Some values throw when they are made a text. */
export const shown = (value: unknown): string =>
  Result.getOrElse(
    Result.try(() =>
      Duration.isDuration(value)
        ? Duration.format(value)
        : Predicate.isString(value) || Predicate.isObject(value)
          ? JSON.stringify(value)
          : String(value)
    ),
    () => "a value that has no text"
  )
