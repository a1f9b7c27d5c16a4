/** References that change a call's limiter, next to `RateLimit` itself. */
import * as Context from "effect/Context"
import type { Limiter } from "../../RateLimit.ts"

/** The limiter of calls that have no other one. A stack sets it, so that a limiter of the client takes precedence. */
export const FallbackRateLimit: Context.Reference<Limiter | undefined> = Context.Reference(
  "@stacksapi/core/internal/rateLimit/FallbackRateLimit",
  { defaultValue: (): Limiter | undefined => undefined }
)

/** Changes the limiter that a call has. */
export const MapRateLimit: Context.Reference<((limiter: Limiter) => Limiter) | undefined> = Context.Reference(
  "@stacksapi/core/internal/rateLimit/MapRateLimit",
  { defaultValue: (): ((limiter: Limiter) => Limiter) | undefined => undefined }
)
