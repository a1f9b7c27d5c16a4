/** The fields and checks that the schemas of `StacksSchema` are made of. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { Direct, giveUp, WireKeys } from "./decoder.ts"
import { Fallback, OneByOne } from "./lenience.ts"
import { decodeTime } from "./time.ts"

/** A check with its JSON Schema. `Schema`'s own checks would add a kilobyte to the client. */
export const holds = <T>(
  test: (value: T) => boolean,
  expected: string,
  json: { readonly [keyword: string]: Schema.Json },
  arbitraryConstraint?: Schema.Annotations.ToArbitrary.FilterConstraint
) => Schema.makeFilter<T>(test, { expected, toJsonSchema: () => json, arbitraryConstraint })

export const isBetween = (minimum: number, maximum: number) =>
  holds<number>((value) => value >= minimum && value <= maximum, `a value between ${minimum} and ${maximum}`, {
    minimum,
    maximum
  })

export const hasItems = holds<ReadonlyArray<unknown>>(
  ({ length }) => length > 0,
  "a value with a length of at least 1",
  { minItems: 1 },
  { minLength: 1 }
)

export const hasCodePoints = (text: string, max: number): boolean =>
  text.length <= max || Array.from(text).length <= max

export const NonEmptyString = Schema.String.check(
  holds((text) => text !== "", "a value with a length of at least 1", { minLength: 1 }, { minLength: 1 })
)

const isPathSegment = Schema.makeFilter<string>(
  (text) => text !== "" && text !== "." && text !== ".." && text.isWellFormed(),
  { expected: `a non-empty text of valid Unicode, other than "." and ".."` }
)

/** Renames keys on the wire. */
export const wireKeys =
  <
    S extends Schema.Constraint & { readonly fields: Schema.Struct.Fields },
    const M extends { readonly [K in keyof S["fields"]]?: string }
  >(
    keys: M
  ) =>
  (self: S) =>
    Schema.encodeKeys<S, M>(keys)(self).pipe(Schema.annotate({ [WireKeys]: keys }))

const timeFromText = SchemaTransformation.transformEffect({
  decode: (text: string, options) =>
    Option.match(DateTime.make(text), {
      onNone: () =>
        Effect.fail(new SchemaIssue.InvalidValue({ expected: "a valid UTC DateTime string" }, text, options)),
      onSome: (time) => Effect.succeed(DateTime.toUtc(time))
    }),
  encode: (time: DateTime.Utc) => Effect.succeed(DateTime.formatIso(time))
})

/** A time, which is ISO 8601 on the wire. `Schema.DateTimeUtcFromString` would make the client larger. */
export const Time = Schema.String.annotate({ format: "date-time" }).pipe(
  Schema.decodeTo(
    Schema.declare((u): u is DateTime.Utc => DateTime.isDateTime(u) && DateTime.isUtc(u), {
      expected: "DateTime.Utc",
      toCodecJson: () => Schema.link<DateTime.Utc>()(Schema.String, timeFromText),
      toCodecArbitrary: () =>
        Schema.link<DateTime.Utc>()(
          Schema.Int.check(isBetween(0, 1e13)),
          SchemaTransformation.transform({ decode: DateTime.makeUnsafe, encode: DateTime.toEpochMillis })
        )
    }),
    timeFromText
  ),
  Schema.annotate({ [Direct]: decodeTime })
)

/** A text that can be one segment of a URL's path. */
export const PathSegment = Schema.String.check(isPathSegment)

/** Less than a second is a mistake, and not rounded up: a number such as 300 is milliseconds, and was meant as seconds. */
const isLifetime = (input: unknown): input is Duration.Input => {
  const duration = Duration.fromInput(input as Duration.Input)
  return Option.isSome(duration) && Duration.toMillis(duration.value) >= 1000
}

/** A duration, which is 1 to 3600 whole seconds on the wire. Fractions of a second are rounded up. */
export const LifetimeSeconds = Schema.Int.check(isBetween(1, 3600)).pipe(
  Schema.decodeTo(
    Schema.declare<Duration.Input>(isLifetime, { expected: "a duration between 1 second and 1 hour" }),
    SchemaTransformation.transform({
      decode: (seconds: number): Duration.Input => Duration.seconds(seconds),
      encode: (input: Duration.Input) => Math.ceil(Duration.toMillis(input) / 1000)
    })
  )
)

const redacting = SchemaTransformation.transform({
  decode: (text: string) => Redacted.make(text),
  encode: (secret: Redacted.Redacted) => Redacted.value(secret)
})

/** A redacted text. `Schema.RedactedFromValue` would make the client larger. */
export const Secret = Schema.String.pipe(
  Schema.decodeTo(
    Schema.declare((u): u is Redacted.Redacted => Redacted.isRedacted(u), {
      expected: "a redacted text",
      toCodecJson: () => Schema.link<Redacted.Redacted>()(Schema.String, redacting)
    }),
    redacting
  )
)

/** A text. A `null` on the wire becomes the empty text. */
export const StringOrNull = Schema.NullOr(Schema.String).pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transform<string, string | null>({ decode: (text) => text ?? "", encode: (text) => text })
  ),
  Schema.annotate({
    [Direct]: (input: unknown) => (input === null ? "" : Predicate.isString(input) ? input : giveUp)
  })
)

/** A text. A `null` or missing field on the wire becomes the empty text. */
export const TextOrAbsent = StringOrNull.pipe(Schema.withDecodingDefaultKey(Effect.succeed("")))

/** A field that may be missing or undefined, and is then omitted from the JSON. */
export const omittable = <S extends Schema.Top>(schema: S) =>
  Schema.optionalKey(schema).pipe(
    Schema.decodeTo(Schema.optional(Schema.toType(schema)), {
      decode: SchemaGetter.passthrough({ strict: false }),
      encode: SchemaGetter.transformOptional((field) => Option.filter(field, Predicate.isNotUndefined))
    })
  )

export const NullableString = Schema.NullOr(Schema.String)

/** Uses a value for a part that is missing or does not decode. */
export const withFallback =
  (value: unknown) =>
  <S extends Schema.Top>(self: S) =>
    self.annotate({ [Fallback]: value })

/** An array or a record whose items are decoded one by one. Items that do not decode are skipped, and added under a key if it is given. */
export const oneByOne = <S extends Schema.Top>(self: S, skippedKey = "") => self.annotate({ [OneByOne]: skippedKey })

export const AnyText = Schema.String.pipe(withFallback(""))

/** An array. A missing field on the wire becomes an empty array. */
export const arrayOrAbsent = <S extends Schema.Top>(item: S) =>
  Schema.Array(item).pipe(Schema.withDecodingDefaultKey(Effect.succeed([])))
