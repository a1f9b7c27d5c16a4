/** Checks options when a layer or a stack is built. Each check returns the value, or fails with the option's name and valid range. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as AgentQueryRules from "../AgentQueryRules.ts"
import { InvalidOptions, InvalidRequest } from "../StacksError.ts"
import { issueOf } from "./amounts.ts"
import { declarations, type Endpoint } from "./api/declaration.ts"
import { shown } from "./shown.ts"

export const invalid = (option: string, issue: string): Effect.Effect<never, InvalidOptions> =>
  Effect.fail(new InvalidOptions({ option, issue }))

export interface DurationRange {
  /** In milliseconds, and as text. Default 0. */
  readonly min?: readonly [millis: number, text: string]
  /** In milliseconds, and as text. Default none. */
  readonly max?: readonly [millis: number, text: string]
}

export const second = [1000, "1 second"] as const
export const hour = [3_600_000, "1 hour"] as const

const rangeOf = ({ max, min }: DurationRange): string =>
  max !== undefined
    ? `between ${min?.[1] ?? "0"} and ${max[1]}`
    : min !== undefined
      ? `at least ${min[1]}`
      : "0 or longer"

/** A duration within a range. */
export const duration = (
  option: string,
  input: Duration.Input,
  range: DurationRange = {}
): Effect.Effect<Duration.Duration, InvalidOptions> => {
  const value = Duration.fromInput(input)
  const millis = Option.isSome(value) ? Duration.toMillis(value.value) : Number.NaN
  const isInRange = millis >= (range.min?.[0] ?? 0) && millis <= (range.max?.[0] ?? Number.POSITIVE_INFINITY)
  return Option.isSome(value) && isInRange && hasNoNaN(input)
    ? Effect.succeed(value.value)
    : invalid(option, `must be a duration ${rangeOf(range)}, not ${shownDuration(input)}`)
}

/** A number is shown with its unit, because it may have been meant as seconds. */
const shownDuration = (input: Duration.Input): string =>
  Predicate.isString(input) ? input : Predicate.isNumber(input) ? `${input} milliseconds` : shown(input)

/** `Duration` turns NaN into 0. */
const hasNoNaN = (input: Duration.Input): boolean =>
  Predicate.isNumber(input)
    ? !Number.isNaN(input)
    : !Predicate.isObjectOrArray(input) || !Object.values(input).some((part) => Number.isNaN(part))

/** A whole number of at least `min`, or infinity. */
export const count = (option: string, value: number, min: number): Effect.Effect<number, InvalidOptions> =>
  (Number.isInteger(value) || value === Number.POSITIVE_INFINITY) && value >= min
    ? Effect.succeed(value)
    : invalid(option, `must be a whole number of ${min} or more, not ${shown(value)}`)

/** A whole number within a range. */
export const integer = (
  option: string,
  value: number,
  min: number,
  max: number
): Effect.Effect<number, InvalidOptions> =>
  Number.isInteger(value) && value >= min && value <= max
    ? Effect.succeed(value)
    : invalid(option, `must be a whole number between ${min} and ${max}, not ${shown(value)}`)

/** A finite number within a range. */
export const number = (
  option: string,
  value: number,
  min: number,
  max: number
): Effect.Effect<number, InvalidOptions> =>
  value >= min && value <= max
    ? Effect.succeed(value)
    : invalid(option, `must be a number between ${min} and ${max}, not ${shown(value)}`)

/** A value of a schema's type. */
export const described = <A>(
  option: string,
  schema: Schema.Schema<A>,
  value: unknown
): Effect.Effect<A, InvalidOptions> =>
  Effect.catchTag(Schema.decodeUnknownEffect(Schema.toType(schema))(value), "SchemaError", ({ message }) =>
    invalid(option, `${message.replace(/^E/, "e").replaceAll(/\s+/g, " ")}, not ${shown(value)}`)
  )

/** For options of one request, which fails with `InvalidRequest`. */
export const ofRequest = <A, R>(
  operation: Endpoint,
  checked: Effect.Effect<A, InvalidOptions, R>
): Effect.Effect<A, InvalidRequest, R> =>
  Effect.mapError(checked, ({ message: issue }) => {
    const { method, path } = declarations[operation]
    return new InvalidRequest({ operation, method, url: path, issue })
  })

/** Amounts by name, each a number of 0 or more. */
export const amounts = (
  option: string,
  value: Readonly<Record<string, number>>
): Effect.Effect<Readonly<Record<string, number>>, InvalidOptions> => {
  const issue = issueOf(value)
  return issue === undefined ? Effect.succeed(value) : invalid(option, issue)
}

/** Tags: `key=value`, or `key` for `key=true`. */
export const tags = (option: string, value: AgentQueryRules.Tags | undefined): Effect.Effect<void, InvalidOptions> => {
  if (value === undefined) return Effect.void
  const keys: ReadonlyArray<unknown> = Array.isArray(value)
    ? value.map((tag: unknown) => (Predicate.isString(tag) ? tag.split("=", 1)[0] : tag))
    : Object.entries(value).map(([key, text]: [string, unknown]) => (Predicate.isString(text) ? key : text))
  const wrong = keys.findIndex((key) => !Predicate.isString(key) || key.trim() === "")
  return wrong < 0
    ? Effect.void
    : invalid(option, `must be texts like "key=value" or "key"; number ${wrong + 1} is neither`)
}
