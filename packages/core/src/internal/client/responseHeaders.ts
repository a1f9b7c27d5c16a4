/** What response headers say about waiting: `Retry-After` and `RateLimit-*`. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Headers from "effect/http/Headers"
import * as Result from "effect/Result"

/** The service's count of requests, as it stood with one response. */
export interface RateLimitStatus {
  /** The name under which the requests were counted. */
  readonly scope: string | undefined
  /** Requests allowed in a second. */
  readonly limit: number | undefined
  /** Requests left in the current window. */
  readonly remaining: number | undefined
  /** How long until the window is free again. */
  readonly reset: Duration.Duration | undefined
}

const nonNegative = (text: string | undefined): number | undefined => {
  if (text === undefined || text.trim() === "") return undefined
  const value = Number(text)
  return Number.isFinite(value) && value >= 0 ? value : undefined
}

/** A number of seconds, also a fraction, as a duration. */
export const secondsToDuration = (seconds: number | undefined): Duration.Duration | undefined =>
  seconds !== undefined && Number.isFinite(seconds) && seconds >= 0
    ? Duration.millis(Math.min(Math.ceil(seconds * 1000), Number.MAX_SAFE_INTEGER))
    : undefined

export const rateLimitStatus = (headers: Headers.Headers): RateLimitStatus => ({
  scope: headers["ratelimit-scope"],
  limit: nonNegative(headers["ratelimit-limit"]),
  remaining: nonNegative(headers["ratelimit-remaining"]),
  reset: secondsToDuration(nonNegative(headers["ratelimit-reset"]))
})

/** `Retry-After` in seconds, fractions included, or as an HTTP date; a date in the past is no wait. */
export const retryAfter = (headers: Headers.Headers, nowMillis: number): Duration.Duration | undefined => {
  const value = headers["retry-after"]
  if (value === undefined) return undefined
  const seconds = secondsToDuration(nonNegative(value))
  if (seconds !== undefined) return seconds
  const parsed = Result.getOrUndefined(Headers.parseRetryAfter(value))
  return parsed?._tag === "DateTime"
    ? Duration.millis(Math.max(0, DateTime.toEpochMillis(parsed.dateTime) - nowMillis))
    : undefined
}
