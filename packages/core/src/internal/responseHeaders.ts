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

/** A number of seconds, also a fraction, as a duration; of one without an end, the longest. */
export const secondsToDuration = (seconds: number | undefined): Duration.Duration | undefined =>
  seconds !== undefined && seconds >= 0
    ? Duration.millis(Math.min(Math.ceil(seconds * 1000), Number.MAX_SAFE_INTEGER))
    : undefined

export const rateLimitStatus = (headers: Headers.Headers): RateLimitStatus => ({
  scope: headers["ratelimit-scope"],
  limit: nonNegative(headers["ratelimit-limit"]),
  remaining: nonNegative(headers["ratelimit-remaining"]),
  reset: secondsToDuration(nonNegative(headers["ratelimit-reset"]))
})

const dateMillis = (text: string | undefined): number | undefined => {
  const date = text === undefined ? undefined : Result.getOrUndefined(Headers.parseRetryAfter(text))
  return date?._tag === "DateTime" ? DateTime.toEpochMillis(date.dateTime) : undefined
}

/** When the service answered by its own clock, in whole seconds: it was up to a second later. */
export const answeredAt = (headers: Headers.Headers): number | undefined => dateMillis(headers["date"])

/** Several headers of one name are joined by commas; a date has one of its own. */
const joined = /(?:\s*(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,)?[^,]+/gi

/**
 * The longest `Retry-After`, in seconds, fractions included, or as an HTTP date. A date in the past is no wait. The service's own
 * clock says what is past, where it tells its time: ours may be another one.
 */
export const retryAfter = (headers: Headers.Headers, nowMillis: number): Duration.Duration | undefined => {
  let longest: Duration.Duration | undefined
  for (const text of headers["retry-after"]?.match(joined) ?? []) {
    const date = dateMillis(text)
    const wait =
      date === undefined
        ? secondsToDuration(/^\s*[\d.]/.test(text) ? Number(text) : undefined)
        : Duration.millis(Math.max(0, date - (answeredAt(headers) ?? nowMillis)))
    if (wait !== undefined) longest = longest === undefined ? wait : Duration.max(longest, wait)
  }
  return longest
}
