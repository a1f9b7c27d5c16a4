/** Reads the response headers `Retry-After`, `RateLimit-*` and `Date`. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Headers from "effect/http/Headers"
import * as Result from "effect/Result"

/** The service's count of requests, as one response reports it. */
export interface RateLimitStatus {
  /** The scope that the request was counted under. */
  readonly scope: string | undefined
  /** Requests allowed in a second. */
  readonly limit: number | undefined
  /** Requests left in the current window. */
  readonly remaining: number | undefined
  /** How long until the window resets. */
  readonly reset: Duration.Duration | undefined
}

const nonNegative = (text: string | undefined): number | undefined => {
  if (text === undefined || text.trim() === "") return undefined
  const value = Number(text)
  return Number.isFinite(value) && value >= 0 ? value : undefined
}

/** Seconds as a duration, rounded up to milliseconds. Infinity becomes the longest duration. */
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

/** The `Date` of a response, in whole seconds: the actual time is up to a second later. */
export const answeredAt = (headers: Headers.Headers): number | undefined => dateMillis(headers["date"])

/** Splits headers that are joined by commas. A date has a comma of its own. */
const joined = /(?:\s*(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,)?[^,]+/gi

/**
 * The longest `Retry-After`, which is a number of seconds or an HTTP date. A date is compared with the response's `Date` if there is
 * one, because the machine's clock may be wrong. A date in the past is a duration of 0.
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
