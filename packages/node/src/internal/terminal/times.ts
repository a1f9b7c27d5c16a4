/** Formats times and rates for people. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"

/** An elapsed time, in at most 6 cells up to 99 hours: `5s`, `1m05s`, `2h03m`. */
export const age = (millis: number): string => {
  const seconds = Math.max(0, Math.floor(millis / 1000))
  if (seconds < 60) return `${seconds}s`
  const two = (n: number) => String(n).padStart(2, "0")
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m${two(seconds % 60)}s`
  const hours = Math.floor(minutes / 60)
  return hours < 100 ? `${hours}h${two(minutes % 60)}m` : `${Math.floor(hours / 24)}d${two(hours % 24)}h`
}

/** A duration: `12 ms`, `3.4 s`, `2m05s`. */
export const duration = (millis: number): string => {
  if (millis < 1000) return `${Math.round(millis)} ms`
  return millis < 60_000 ? `${(millis / 1000).toFixed(1)} s` : age(millis)
}

/** A rate: `3.4/s`. */
export const perSecond = (count: number): string => `${count >= 10 ? count.toFixed(0) : count.toFixed(1)}/s`

/** The time of day, in UTC. */
export const timeOfDay = (millis: number): string => iso(millis).slice(11, 19)

export const iso = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis))

/** The distance of a time from now: `12s ago`, `in 3m`. */
export const fromNow = (now: DateTime.Utc, time: DateTime.Utc): string => {
  const distance = DateTime.distance(now, time)
  const text = inLargestUnit(Duration.abs(distance))
  return Duration.isNegative(distance) ? `${text} ago` : text === "0s" ? "now" : `in ${text}`
}

const inLargestUnit = (duration: Duration.Duration): string => {
  const { days, hours, minutes, seconds } = Duration.parts(duration)
  if (days > 0) return `${days}d`
  if (hours > 0) return `${hours}h`
  return minutes > 0 ? `${minutes}m` : `${seconds}s`
}
