/** The limiter for calls that no other one is set for. A stack sets it, so that a limiter of the client's own goes before. */
import * as Context from "effect/Context"
import type { Limiter } from "../../RateLimit.ts"

export const FallbackRateLimit: Context.Reference<Limiter | undefined> = Context.Reference(
  "@stacksapi/core/internal/rateLimit/FallbackRateLimit",
  { defaultValue: (): Limiter | undefined => undefined }
)
