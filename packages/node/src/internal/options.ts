/**
 * Checks options when a layer is built. Each check fails with the option's name and its valid range, in the same words as
 * `@stacksapi/core`, whose checks are internal to it.
 */
import { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as JobOutput from "../JobOutput.ts"

type Check = Effect.Effect<void, InvalidOptions>

const check = (isValid: boolean, option: string, rule: string, value: unknown): Check =>
  isValid ? Effect.void : invalid(option, `must be ${rule}, not ${shown(value)}`)

export const invalid = (option: string, issue: string): Effect.Effect<never, InvalidOptions> =>
  Effect.fail(new InvalidOptions({ option, issue }))

const shown = (value: unknown): string =>
  Duration.isDuration(value)
    ? Duration.format(value)
    : Predicate.isString(value)
      ? JSON.stringify(value)
      : String(value)

interface Range {
  readonly min?: Duration.Input
  readonly max?: Duration.Input
}

/** A duration within a range, by default 0 or longer. An option that is not set is valid. */
export const duration = (option: string, input: Duration.Input | undefined, { max, min = 0 }: Range = {}): Check => {
  if (input === undefined) return Effect.void
  const least = Duration.fromInputUnsafe(min)
  const most = max === undefined ? Duration.infinity : Duration.fromInputUnsafe(max)
  const value = Duration.fromInput(input)
  const isValid =
    Option.isSome(value) && !isNaN(input) && Duration.between(value.value, { minimum: least, maximum: most })
  const from = Duration.isZero(least) ? "0" : Duration.format(least)
  return check(
    isValid,
    option,
    max === undefined ? `a duration of ${from} or longer` : `a duration between ${from} and ${Duration.format(most)}`,
    input
  )
}

/** `Duration` converts NaN to 0. */
const isNaN = (input: Duration.Input): boolean =>
  (Predicate.isObjectOrArray(input) ? Object.values(input) : [input]).some(Number.isNaN)

/** A whole number within a range. */
export const integer = (option: string, value: number | undefined, min: number, max?: number): Check =>
  check(
    value === undefined || (Number.isInteger(value) && value >= min && value <= (max ?? Number.MAX_SAFE_INTEGER)),
    option,
    max === undefined ? `a whole number of ${min} or more` : `a whole number between ${min} and ${max}`,
    value
  )

export const port = (option: string, value: number, min: 0 | 1): Check => integer(option, value, min, 65_535)

/** One of some texts. */
export const oneOf = (option: string, value: string | undefined, choices: ReadonlyArray<string>): Check =>
  check(
    value === undefined || choices.includes(value),
    option,
    `one of ${choices.map((choice) => `"${choice}"`).join(", ")}`,
    value
  )

/** A text that is not blank, and has no NUL, which no path, argument or variable can contain. */
export const text = (option: string, value: string | undefined, what: string): Check =>
  check(value === undefined || isText(value), option, what, value)

const isText = (value: unknown): boolean => Predicate.isString(value) && value.trim() !== "" && !value.includes("\0")

/** An HTTP URL. The message does not show it, because it may contain a password. */
export const httpUrl = (option: string, value: URL | string | undefined): Check =>
  value === undefined || (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol))
    ? Effect.void
    : invalid(option, "must be a URL such as https://agent.buildkite.com/v3/")

/** Tags of agents. */
export const tags = (option: string, value: ReadonlyArray<string> | undefined): Check => {
  const wrong = (value ?? []).findIndex(
    (tag: unknown) => !Predicate.isString(tag) || tag.split("=", 1)[0]?.trim() === ""
  )
  return wrong < 0
    ? Effect.void
    : invalid(option, `must be texts like "key=value" or "key"; number ${wrong + 1} is neither`)
}

/** Environment variables. The message does not show values, which may be secrets. */
export const environment = (
  option: string,
  variables: Readonly<Record<string, string | Redacted.Redacted>> | undefined
): Check => {
  const wrong = Object.entries(variables ?? {}).find(([name, value]) => {
    const plain: unknown = Redacted.isRedacted(value) ? Redacted.value(value) : value
    return name === "" || /[=\0]/.test(name) || !Predicate.isString(plain) || plain.includes("\0")
  })
  return wrong === undefined
    ? Effect.void
    : invalid(option, `must have names without = and values without NUL; ${JSON.stringify(wrong[0])} is invalid`)
}

/** The grace period of a canceled job. Timers of programs overflow beyond 7 days. */
export const gracePeriod = (option: string, input: Duration.Input | undefined): Check =>
  duration(option, input, { max: Duration.days(7) })

/** The options of all runners for output. An empty secret would match everywhere. */
export const jobOutput = Effect.fnUntraced(function* (options: JobOutput.Options) {
  yield* text("logDirectory", options.logDirectory, "the path of a folder")
  if (options.redactedVars?.some((name) => !isText(name)) === true) {
    return yield* invalid("redactedVars", "must be names of variables, in which * stands for any text")
  }
  if (options.secrets?.some((secret) => Redacted.value(secret) === "") === true) {
    return yield* invalid("secrets", "must have at least 1 character each")
  }
})
