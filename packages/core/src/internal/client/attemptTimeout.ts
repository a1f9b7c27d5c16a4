/** A timeout for attempts, besides the client's own. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"

/** Limits each attempt of the calls in an effect. Delays by a rate limit or between attempts do not count. The shorter timeout wins. */
export const AttemptTimeout: Context.Reference<Duration.Duration> = Context.Reference(
  "@stacksapi/core/internal/Timeout",
  { defaultValue: () => Duration.infinity }
)
