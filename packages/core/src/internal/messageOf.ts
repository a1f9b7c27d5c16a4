/** The message of any error. */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"

/** An error's message, or a text unchanged, or JSON, or a string if the value has no JSON. */
export const messageOf = (error: unknown): string =>
  Result.getOrElse(
    Result.try(() => messageIn(error)),
    () => "an error whose message can't be read"
  )

const messageIn = (error: unknown): string => {
  // `Effect.tryPromise` wraps what its promise rejects with.
  if (Predicate.isTagged(error, "UnknownError") && Predicate.hasProperty(error, "cause")) return messageIn(error.cause)
  if (Predicate.isError(error)) return error.message
  if (Predicate.isString(error)) return error
  if (Predicate.hasProperty(error, "message") && Predicate.isString(error.message) && error.message !== "") {
    return error.message
  }
  return asJson(error) ?? String(error)
}

const asJson = (value: unknown): string | undefined => {
  if (!Predicate.isObjectOrArray(value)) return undefined
  // biome-ignore lint/plugin: JSON.stringify throws for cycles and big integers
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
