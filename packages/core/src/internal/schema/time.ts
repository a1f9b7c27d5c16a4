/** Decodes times like `2026-10-01T12:34:56.789Z`, without `Date.parse`, which is slower. */
import * as DateTime from "effect/DateTime"
import { giveUp } from "./decoder.ts"

const digit = (text: string, index: number): number => {
  const value = text.charCodeAt(index) - 48
  return value >= 0 && value <= 9 ? value : Number.NaN
}

const two = (text: string, index: number): number => digit(text, index) * 10 + digit(text, index + 1)

/** Days from 1970-01-01 to a date of the Gregorian calendar. */
const daysSinceEpoch = (year: number, month: number, day: number): number => {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146097 + dayOfEra - 719468
}

const isShaped = (text: string): boolean =>
  text.charCodeAt(4) === 45 && // -
  text.charCodeAt(7) === 45 &&
  text.charCodeAt(10) === 84 && // T
  text.charCodeAt(13) === 58 && // :
  text.charCodeAt(16) === 58 &&
  text.charCodeAt(text.length - 1) === 90 && // Z
  (text.length === 20 || (text.length === 24 && text.charCodeAt(19) === 46)) // .

/** Decodes a UTC time with seconds or milliseconds, and gives up on anything else. */
export const decodeTime = (input: unknown): DateTime.Utc | typeof giveUp => {
  if (typeof input !== "string" || !isShaped(input)) return giveUp
  const year = two(input, 0) * 100 + two(input, 2)
  const month = two(input, 5)
  const day = two(input, 8)
  const hour = two(input, 11)
  const minute = two(input, 14)
  const second = two(input, 17)
  // The last days of a month, leap seconds and the like are rare, so the schema decodes them.
  if (!(month >= 1 && month <= 12 && day >= 1 && day <= 28 && hour <= 23 && minute <= 59 && second <= 59)) return giveUp
  const milli = input.length === 24 ? digit(input, 20) * 100 + two(input, 21) : 0
  const epochMillis =
    daysSinceEpoch(year, month, day) * 86_400_000 + ((hour * 60 + minute) * 60 + second) * 1000 + milli
  return Number.isNaN(epochMillis) ? giveUp : DateTime.makeUnsafe(epochMillis)
}
