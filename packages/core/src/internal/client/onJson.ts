import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/**
 * Called with the JSON of a response before it is decoded. `ScheduledJobs` uses it to request the next page while this one is
 * decoded.
 */
export const OnJson = Context.Reference<((json: unknown) => Effect.Effect<void>) | undefined>(
  "~@stacksapi/core/OnJson",
  { defaultValue: () => undefined }
)
