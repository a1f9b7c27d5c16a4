/** JSON values that are almost as they should be. */
import { Arbitrary, Schema } from "effect"

/** Times as no service should write them, and some that look odd and are right. */
export const oddTimes = [
  "2028-02-29T00:00:00Z",
  "2026-02-29T00:00:00Z",
  "2026-02-30T00:00:00Z",
  "2026-04-31T00:00:00.000Z",
  "2100-02-29T00:00:00.000Z",
  "2026-10-01t12:34:56z",
  "2026-10-01T12:34:56",
  "2026-10-01 12:34:56Z",
  "2026-10-01",
  "2026-10-01T12:34Z",
  "2026-10-01T12:34:56+02:00",
  "2026-10-01T12:34:56.789-0500",
  "2026-10-01T12:34:56.7Z",
  "2026-10-01T12:34:56.789123Z",
  "2026-10-01T12:34:56.789123456Z",
  "2026-10-01T12:34:56,789Z",
  "2026-10-01T12:34:56.78:Z",
  "2026-10-01T24:00:00Z",
  "2026-10-01T23:59:60Z",
  "2026-10-01T23:60:00Z",
  "2026-13-01T00:00:00Z",
  "2026-00-01T00:00:00Z",
  "2026-10-00T00:00:00Z",
  "0000-01-01T00:00:00Z",
  "0099-12-28T00:00:00.000Z",
  "9999-12-28T23:59:59.999Z",
  "+010000-01-01T00:00:00Z",
  "-000001-01-01T00:00:00.000Z",
  "20a6-10-01T12:34:56Z",
  "２０２６-10-01T12:34:56Z",
  " 2026-10-01T12:34:56Z",
  "1759322096",
  "now",
  ""
]

const oddValues: ReadonlyArray<unknown> = [
  null,
  true,
  false,
  "",
  "text",
  "a\ud83d",
  0,
  -0,
  -1,
  1.5,
  2 ** 31,
  2 ** 53 - 1,
  2 ** 53,
  -(2 ** 53),
  1e308,
  [],
  {},
  [null],
  [[]],
  { "": "" },
  JSON.parse('{"__proto__":"x"}'),
  JSON.parse('{"__proto__":null,"constructor":"y","toString":"z"}'),
  JSON.parse('{"__proto__":{"id":"inherited"}}'),
  ...oddTimes
]

interface Edit {
  readonly at: number
  readonly how: "replace" | "remove" | "wrap" | "add" | "repeat"
  readonly value: number
}

/** A few changes anywhere in a value. */
export const edits: Arbitrary.Arbitrary<ReadonlyArray<Edit>> = Arbitrary.array(
  Arbitrary.schema(
    Schema.Struct({
      at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000 })),
      how: Schema.Literals(["replace", "remove", "wrap", "add", "repeat"]),
      value: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: oddValues.length - 1 }))
    })
  ),
  { maxLength: 4 }
)

type Json = Record<string, unknown>

/** Every place in a value: the object or array that holds it, and its key there. */
const placesIn = (value: unknown): Array<readonly [holder: Json, key: string]> => {
  if (typeof value !== "object" || value === null) return []
  // An array too: its keys are its indexes.
  const holder = value as Json
  return Object.keys(holder).flatMap((key) => [[holder, key] as const, ...placesIn(holder[key])])
}

/** Sets a key as JSON.parse does: `__proto__` too is only a key. */
const setOwn = (holder: Json, key: string, value: unknown): void => {
  Object.defineProperty(holder, key, { value, configurable: true, enumerable: true, writable: true })
}

/** The value with the edits, as JSON would give it. */
export const mutate = (original: unknown, edits: ReadonlyArray<Edit>): unknown => {
  const root: Json = { body: structuredClone(original) }
  for (const { at, how, value } of edits) {
    const places = placesIn(root)
    const place = places[at % Math.max(1, places.length)]
    if (place === undefined) continue
    const [holder, key] = place
    const odd = oddValues[value]
    switch (how) {
      case "replace":
        setOwn(holder, key, structuredClone(odd))
        break
      case "remove":
        if (Array.isArray(holder)) holder.splice(Number(key), 1)
        else if (holder !== root) delete holder[key]
        break
      case "wrap":
        setOwn(holder, key, [holder[key]])
        break
      case "add":
        if (Array.isArray(holder)) holder.push(structuredClone(odd))
        else setOwn(holder, typeof odd === "string" ? odd : "__proto__", structuredClone(odd))
        break
      case "repeat":
        if (Array.isArray(holder)) holder.push(structuredClone(holder[Number(key)]))
        break
    }
  }
  return root["body"]
}

/** The value with each of its parts replaced by each odd value, one at a time. */
export const replacements = function* (original: unknown): Generator<unknown> {
  const count = placesIn({ body: original }).length
  for (let at = 0; at < count; at++) {
    for (let value = 0; value < oddValues.length; value++) yield mutate(original, [{ at, how: "replace", value }])
    for (const how of ["remove", "wrap"] as const) yield mutate(original, [{ at, how, value: 0 }])
  }
}

const position = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9999 }))

const ByteEdit = Schema.Struct({
  at: position,
  how: Schema.Literals(["flip", "flip", "insert", "remove", "repeat", "cut"]),
  value: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
})

/** A few changes anywhere in bytes; positions are in ten thousandths of their length. */
export const byteEdits = Arbitrary.array(Arbitrary.schema(ByteEdit), { maxLength: 3 })

const placeIn = (bytes: Uint8Array, at: number): number => Math.floor((at / 10_000) * bytes.length)

const editOnce = (bytes: Uint8Array, { at, how, value }: typeof ByteEdit.Type): Uint8Array => {
  const place = placeIn(bytes, at)
  const before = bytes.subarray(0, place)
  const after = bytes.subarray(place)
  switch (how) {
    case "flip":
      return Buffer.concat([before, Buffer.from([(after[0] ?? 0) ^ value]), after.subarray(1)])
    case "insert":
      return Buffer.concat([before, Buffer.alloc(1 + (value % 4), value), after])
    case "remove":
      return Buffer.concat([before, after.subarray(1 + (value % 16))])
    case "repeat":
      return Buffer.concat([before, after.subarray(0, value), after])
    case "cut":
      return before
  }
}

/** The bytes with the edits. */
export const editBytes = (bytes: Uint8Array, edits: ReadonlyArray<typeof ByteEdit.Type>): Uint8Array =>
  edits.reduce(editOnce, bytes)

/** Where to split bytes: before any of them. */
export const splits = Arbitrary.array(Arbitrary.schema(position), { maxLength: 6 })

export const splitBytes = (bytes: Uint8Array, splits: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const places = [0, ...splits.map((at) => placeIn(bytes, at)).sort((a, b) => a - b), bytes.length]
  return places
    .slice(1)
    .flatMap((end, index) => (end > (places[index] ?? 0) ? [bytes.subarray(places[index], end)] : []))
}
