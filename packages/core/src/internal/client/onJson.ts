import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/**
 * What is done with the JSON of a response before it is decoded: a page says in it what the next one is, which can travel while
 * this one is decoded.
 */
export const OnJson = Context.Reference<((json: unknown) => Effect.Effect<void>) | undefined>(
  "~@stacksapi/core/OnJson",
  { defaultValue: () => undefined }
)
