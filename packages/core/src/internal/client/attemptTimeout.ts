/** How long an attempt may take where the client's own timeout is longer. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"

/** Bounds each attempt of the calls within, not the time that they wait for a limiter or between attempts. */
export const AttemptTimeout: Context.Reference<Duration.Duration> = Context.Reference(
  "@stacksapi/core/internal/Timeout",
  { defaultValue: () => Duration.infinity }
)
