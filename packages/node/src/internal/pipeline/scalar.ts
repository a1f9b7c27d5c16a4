/** Reads scalars by the rules of the agent's parser: YAML 1.2, with some of 1.1. */
import * as Result from "effect/Result"
import { type Scalar, Time } from "./value.ts"

/** The kinds of scalars. Other tags leave a text as it is. */
export type Tag = "null" | "bool" | "str" | "int" | "float" | "timestamp" | "binary" | "merge" | "other"

const prefix = "tag:yaml.org,2002:"

const known: ReadonlySet<string> = new Set(["null", "bool", "str", "int", "float", "timestamp", "binary", "merge"])

/** The tag that stands before a scalar, if any. `!` alone says nothing. */
export const tagOf = (written: string | undefined): Tag | undefined => {
  if (written === undefined || written === "!" || written === "") return undefined
  const name = written.startsWith(prefix) ? written.slice(prefix.length) : written.replace(/^!!/, "")
  return known.has(name) && written !== name ? (name as Tag) : "other"
}

interface Resolved {
  readonly tag: Tag
  readonly value: Scalar
}

const words: ReadonlyMap<string, Resolved> = new Map<string, Resolved>([
  ...["true", "True", "TRUE"].map((word) => [word, { tag: "bool", value: true }] as const),
  ...["false", "False", "FALSE"].map((word) => [word, { tag: "bool", value: false }] as const),
  ...["", "~", "null", "Null", "NULL"].map((word) => [word, { tag: "null", value: null }] as const),
  ...[".nan", ".NaN", ".NAN"].map((word) => [word, { tag: "float", value: Number.NaN }] as const),
  ...[".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"].map(
    (word) => [word, { tag: "float", value: Number.POSITIVE_INFINITY }] as const
  ),
  ...["-.inf", "-.Inf", "-.INF"].map((word) => [word, { tag: "float", value: Number.NEGATIVE_INFINITY }] as const),
  ["<<", { tag: "merge", value: "<<" }]
])

/** What a scalar that is not quoted means. */
export const resolve = (text: string, tag?: Tag): Resolved => {
  if (tag === "str" || tag === "other" || tag === "binary" || tag === "merge") return { tag, value: text }
  const word = words.get(text)
  if (word !== undefined) return word
  const first = text[0] ?? ""
  if (first === ".") {
    const value = readFloat(text)
    if (value !== undefined) return { tag: "float", value }
  } else if (/[-+0-9]/.test(first)) {
    const time = tag === undefined || tag === "timestamp" ? readTime(text) : undefined
    if (time !== undefined) return { tag: "timestamp", value: time }
    const number = readNumber(text.replaceAll("_", ""))
    if (number !== undefined) return { tag: typeof number === "bigint" ? "int" : "float", value: number }
  }
  return { tag: "str", value: text }
}

/** What a scalar with a tag means. Fails if its text is not of the tag's kind. */
export const resolveTagged = (text: string, tag: Tag): Result.Result<Scalar, string> => {
  if (tag === "binary") {
    const isBase64 =
      /^(?:[A-Za-z0-9+/\r\n]*={0,2}[\r\n]*)$/.test(text) && text.replaceAll(/[\r\n]/g, "").length % 4 === 0
    return isBase64
      ? Result.succeed(Buffer.from(text, "base64").toString("utf8"))
      : Result.fail("This !!binary is not base64.")
  }
  const resolved = resolve(text, tag)
  if (tag === "str" || tag === "other" || tag === "merge" || resolved.tag === tag) return Result.succeed(resolved.value)
  if (tag === "float" && typeof resolved.value === "bigint" && resolved.value <= maxInt) {
    return Result.succeed(Number(resolved.value))
  }
  return Result.fail(`${JSON.stringify(text)} is not of the kind that its tag !!${tag} says.`)
}

const maxInt = 2n ** 63n - 1n
const minInt = -(2n ** 63n)
const maxUnsigned = 2n ** 64n - 1n

/** A number without underscores. A leading 0 means octal, as in YAML 1.1, unless a digit is no octal one. */
const readNumber = (text: string): bigint | number | undefined => {
  const match = /^([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))$/.exec(text)
  if (match !== null) {
    const [, sign, hex, binary, octal, decimal] = match
    const digits =
      hex !== undefined
        ? `0x${hex}`
        : binary !== undefined
          ? `0b${binary}`
          : octal !== undefined
            ? `0o${octal}`
            : (decimal ?? "0")
    const value = sign === "-" ? -BigInt(digits) : BigInt(digits)
    if (value >= minInt && value <= (sign === "" ? maxUnsigned : maxInt)) return value
  }
  return /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/.test(text) ? finite(text) : undefined
}

/** A number that begins with a point. */
const readFloat = (text: string): number | undefined =>
  /^\.[0-9]+(?:[eE][-+]?[0-9]+)?$/.test(text) ? finite(text) : undefined

/** A number that is too large stays a text. */
const finite = (text: string): number | undefined => {
  const value = Number(text)
  return Number.isFinite(value) ? value : undefined
}

// -----------------------------------------------------------------------------
// Times
// -----------------------------------------------------------------------------

const timePattern =
  /^(\d{4})-(\d{1,2})-(\d{1,2})(?:([Tt ])(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d+))?(Z|[-+]\d{2}:\d{2})?)?$/

/** A date, or a date with a time: with a zone after `T`, without one after a space. */
const readTime = (text: string): Time | undefined => {
  const match = timePattern.exec(text)
  if (match === null) return undefined
  const [, year = "", month = "", day = "", separator, hour = "0", minute = "0", second = "0", fraction = "", zone] =
    match
  if (separator !== undefined && (separator === " ") !== (zone === undefined)) return undefined
  const isTime = Number(hour) < 24 && Number(minute) < 60 && Number(second) < 60
  if (!isTime || !isDate(Number(year), Number(month), Number(day))) return undefined
  if (zone !== undefined && !isZone(zone)) return undefined
  const two = (digits: string) => digits.padStart(2, "0")
  const nanos = fraction.slice(0, 9).replace(/0+$/, "")
  return new Time(
    `${year}-${two(month)}-${two(day)}T${two(hour)}:${two(minute)}:${two(second)}${nanos === "" ? "" : `.${nanos}`}${zoneText(zone)}`
  )
}

const isDate = (year: number, month: number, day: number): boolean => {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  const days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0
  return day >= 1 && day <= days
}

const isZone = (zone: string): boolean => {
  const [hours = "0", minutes = "0"] = zone.slice(1).split(":")
  return zone === "Z" || (Number(hours) <= 24 && Number(minutes) < 60)
}

const zoneText = (zone: string | undefined): string =>
  zone === undefined || zone === "+00:00" || zone === "-00:00" ? "Z" : zone
