/** Times and numbers, for people. */
import * as DateTime from "effect/DateTime"

/** How long something lasts, in at most 6 cells up to 99 hours: `5s`, `1m05s`, `2h03m`. */
export const age = (millis: number): string => {
  const seconds = Math.max(0, Math.floor(millis / 1000))
  if (seconds < 60) return `${seconds}s`
  const two = (n: number) => String(n).padStart(2, "0")
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m${two(seconds % 60)}s`
  const hours = Math.floor(minutes / 60)
  return hours < 100 ? `${hours}h${two(minutes % 60)}m` : `${Math.floor(hours / 24)}d${two(hours % 24)}h`
}

/** A duration with the precision that matters: `12 ms`, `3.4 s`, `2m05s`. */
export const duration = (millis: number): string => {
  if (millis < 1000) return `${Math.round(millis)} ms`
  return millis < 60_000 ? `${(millis / 1000).toFixed(1)} s` : age(millis)
}

/** How many in a second. */
export const perSecond = (count: number): string => `${count >= 10 ? count.toFixed(0) : count.toFixed(1)}/s`

/** The time of day, in UTC. */
export const timeOfDay = (millis: number): string => iso(millis).slice(11, 19)

export const iso = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis))
