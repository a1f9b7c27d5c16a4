/** Decodes times like `2026-10-01T12:34:56.789Z`, without `Date.parse`, which takes twice as long. */
import * as DateTime from "effect/DateTime"
import { giveUp } from "./decoder.ts"

const digit = (text: string, index: number): number => {
  const value = text.charCodeAt(index) - 48
  return value >= 0 && value <= 9 ? value : Number.NaN
}

const two = (text: string, index: number): number => digit(text, index) * 10 + digit(text, index + 1)

const example = DateTime.makeUnsafe(0)
/** Whether a time has no fields but `epochMilliseconds` and a cache, which is undefined until its first use. */
const isAsKnown = Object.getOwnPropertyNames(example).length === 2

/** `DateTime.makeUnsafe`, which takes 15 times as long because it defines the cache as a hidden property. */
const makeTime = (epochMilliseconds: number): DateTime.Utc =>
  isAsKnown
    ? Object.assign(Object.create(Object.getPrototypeOf(example)), { epochMilliseconds })
    : DateTime.makeUnsafe(epochMilliseconds)

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
  // Leap days and leap seconds are rare, so the schema decodes them. `Date.UTC` takes years below 100 for years of 1900 and later.
  const lastDay = month === 2 ? 28 : 30 + ((month + (month >> 3)) & 1)
  if (!(year >= 100 && month >= 1 && month <= 12 && day >= 1 && day <= lastDay)) return giveUp
  if (!(hour <= 23 && minute <= 59 && second <= 59)) return giveUp
  const milli = input.length === 24 ? digit(input, 20) * 100 + two(input, 21) : 0
  const epochMillis = Date.UTC(year, month - 1, day, hour, minute, second, milli)
  return Number.isNaN(epochMillis) ? giveUp : makeTime(epochMillis)
}
