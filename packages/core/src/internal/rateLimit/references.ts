/** What surrounds a call besides `RateLimit` itself. */
import * as Context from "effect/Context"
import type { Limiter } from "../../RateLimit.ts"

/** The limiter for calls that no other one is set for. A stack sets it, so that a limiter of the client's own goes before. */
export const FallbackRateLimit: Context.Reference<Limiter | undefined> = Context.Reference(
  "@stacksapi/core/internal/rateLimit/FallbackRateLimit",
  { defaultValue: (): Limiter | undefined => undefined }
)

/** Changes whatever limiter a call has. */
export const MapRateLimit: Context.Reference<((limiter: Limiter) => Limiter) | undefined> = Context.Reference(
  "@stacksapi/core/internal/rateLimit/MapRateLimit",
  { defaultValue: (): ((limiter: Limiter) => Limiter) | undefined => undefined }
)
