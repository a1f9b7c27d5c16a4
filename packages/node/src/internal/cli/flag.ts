/**
 * Declares flags. From one declaration come the parser, the environment variable, the setting of the configuration file with its JSON
 * Schema, the default, the help text, and the tables of documentation (`test/docs/cliTables.ts`).
 */
import * as Config from "effect/Config"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import type { Setting, ValueSchema } from "./setting.ts"

/** The use of the command that a flag is for. */
export type Use = "--runner agent" | "--runner command" | "--runner docker" | "--cluster" | "--cluster and REDIS_URL"

/** What all kinds of flags can declare. */
interface Options {
  /** What the flag is for; without a full stop. */
  readonly description: string
  /** The only use for which the flag has an effect. Default any. */
  readonly onlyWith?: Use
  readonly alias?: string
  /** The placeholder of the value in help texts. */
  readonly metavar?: string
  /** The environment variable that sets the flag; true for `STACKSAPI_` and its name. Default none. */
  readonly variable?: string | true | undefined
  /** For help texts: variables that are read elsewhere if the flag is not set. */
  readonly otherVariables?: string
  /** The variable that stands for the flag in a configuration file, if it is not `variable`. */
  readonly fileVariable?: string
  /** Why a text in a configuration file is not valid, if errors in flags and variables must not show it. */
  readonly fileProblem?: (value: unknown) => string | undefined
  /** What applies without a value, for help texts. The functions below add a default value by themselves. */
  readonly otherwise?: string
}

/** A flag that has its name, help text and variable, and no default yet. */
interface Declared<out A> {
  readonly name: string
  readonly description: string
  readonly onlyWith: Use | undefined
  /** The variable that stands for it in a configuration file; undefined if the file can't set it. */
  readonly fileVariable: string | undefined
  readonly schema: ValueSchema
  readonly unit: Setting["unit"]
  /** Why a value in a configuration file is not valid. */
  readonly problem: Setting["problem"]
  /** For the help text. */
  readonly variables: string | undefined
  readonly otherwise: string | undefined
  /** Makes the flag. `source`, the variable and the default, is added to its help text. */
  readonly flag: (source: string) => Flag.Flag<A>
}

/** The variable of a flag: `STACKSAPI_HEALTH_PORT` for `--health-port`. */
const variableOf = (name: string): string => `STACKSAPI_${name.toUpperCase().replaceAll("-", "_")}`

/** The end of a help text: ` [env: STACKSAPI_HEALTH_HOST; default: 127.0.0.1]`. */
const sourceOf = ({ variables }: Declared<unknown>, otherwise: string | undefined): string => {
  const parts = [
    ...(variables === undefined ? [] : [`env: ${variables}`]),
    ...(otherwise === undefined ? [] : [`default: ${otherwise}`])
  ]
  return parts.length === 0 ? "" : ` [${parts.join("; ")}]`
}

/** Splits a help text into what the flag is for, its variable and its default. */
export const parseHelp = (help: string) => {
  const [, description = help, variables, otherwise] =
    /^(.*?) \[(?:env: ([^;\]]+))?(?:; )?(?:default: ([^\]]+))?\]$/.exec(help) ?? []
  return { description, variables, otherwise }
}

// -----------------------------------------------------------------------------
// Kinds
// -----------------------------------------------------------------------------

const declare = <S, A = S>(
  name: string,
  schema: ValueSchema,
  parser: (name: string) => Flag.Flag<S>,
  setting: (variable: string) => Config.Config<A>,
  options: Options,
  shape: (flag: Flag.Flag<S>) => Flag.Flag<A>
): Declared<A> => {
  const { alias, metavar, onlyWith, otherwise } = options
  const description = onlyWith === undefined ? options.description : `With ${onlyWith}: ${options.description}`
  const variable = options.variable === true ? variableOf(name) : options.variable
  const flag = (source: string) => {
    const named = parser(name).pipe(
      (flag) => (alias === undefined ? flag : Flag.withAlias(flag, alias)),
      (flag) => (metavar === undefined ? flag : Flag.withMetavar(flag, metavar)),
      Flag.withDescription(description + source)
    )
    const flag = shape(named)
    return variable === undefined ? flag : Flag.withFallbackConfig(flag, setting(variable))
  }
  return {
    name,
    description,
    onlyWith,
    fileVariable: options.fileVariable ?? variable,
    schema,
    unit: metavar === "SECONDS" ? "seconds" : undefined,
    problem: options.fileProblem,
    variables: variable ?? options.otherVariables,
    otherwise,
    flag
  }
}

export const text = (name: string, options: Options): Declared<string> =>
  declare(name, { type: "string" }, Flag.String, Config.String, options, identity)

/** A text that may be repeated. Its variable takes several with commas. */
export const texts = (name: string, options: Options): Declared<ReadonlyArray<string>> =>
  declare(
    name,
    { type: "array" },
    Flag.String,
    (variable) => Config.Array(Schema.String, variable),
    options,
    (flag): Flag.Flag<ReadonlyArray<string>> => Flag.atLeast(flag, 1)
  )

/** `KEY=VALUE`, which may be repeated. Its variable takes several with commas. */
export const pairs = (name: string, options: Options): Declared<Record<string, string>> =>
  declare(
    name,
    { type: "object" },
    Flag.KeyValuePair,
    (variable) => Config.Record(Schema.String, Schema.String, variable),
    { metavar: "KEY=VALUE", ...options },
    identity
  )

/** `KEY=VALUE`, which may be repeated, also with the same key. */
export const repeatedPairs = (name: string, options: Options): Declared<ReadonlyArray<readonly [string, string]>> =>
  map(
    check(
      texts(name, { metavar: "KEY=VALUE", ...options }),
      (all) => all.every((text) => text.indexOf("=") > 0),
      `Expected ${options.metavar ?? "KEY=VALUE"}`
    ),
    (all) => all.map((text) => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)] as const)
  )

/** A number of seconds within a range; fractions are allowed. */
export const seconds = (
  name: string,
  { max, min, ...options }: Options & { readonly min: number; readonly max: number }
): Declared<number> =>
  check(
    declare(
      name,
      { type: "number", minimum: min, maximum: max },
      Flag.Finite,
      Config.Finite,
      { metavar: "SECONDS", ...options },
      identity
    ),
    (value) => value >= min && value <= max,
    `Expected ${min} to ${max} seconds`
  )

/** A number above 0; fractions are allowed. */
export const positive = (name: string, options: Options): Declared<number> =>
  check(
    declare(
      name,
      { type: "number", minimum: 0 },
      Flag.Finite,
      Config.Finite,
      { metavar: "NUMBER", ...options },
      identity
    ),
    (value) => value > 0,
    "Expected a number above 0"
  )

/** A whole number. */
export const int = (name: string, options: Options, schema: ValueSchema = { type: "integer" }): Declared<number> =>
  declare(name, schema, Flag.Int, Config.Int, { metavar: "N", ...options }, identity)

/** A whole number within a range. */
export const integer = (
  name: string,
  { max, min, ...options }: Options & { readonly min: number; readonly max: number }
): Declared<number> =>
  check(
    int(name, options, { type: "integer", minimum: min, maximum: max }),
    (value) => value >= min && value <= max,
    `Expected a whole number${options.metavar === "SECONDS" ? " of seconds" : ""} from ${min} to ${max}`
  )

export const choice = <const Choices extends ReadonlyArray<string>>(
  name: string,
  choices: Choices,
  options: Options
): Declared<Choices[number]> =>
  declare(
    name,
    { type: "string", enum: choices },
    (name) => Flag.Literals(name, choices),
    (variable) => Config.Literals(choices, variable),
    { metavar: choices.join("|"), ...options },
    identity
  )

/**
 * A file or folder, which shells complete. Its value is relative to the working directory if it is inside, so that `-` stays as it
 * is.
 */
export const path = (name: string, pathType: "directory" | "either", options: Options): Declared<string> =>
  declare(
    name,
    { type: "string" },
    (name) => Flag.Path(name, { pathType }),
    Config.String,
    options,
    (flag) => Flag.mapEffect(flag, relative)
  )

/** A file or folder that may be repeated. */
export const paths = (
  name: string,
  pathType: "directory" | "either",
  options: Options
): Declared<ReadonlyArray<string>> =>
  declare(
    name,
    { type: "array" },
    (name) => Flag.Path(name, { pathType }),
    (variable) => Config.Array(Schema.String, variable),
    options,
    (flag): Flag.Flag<ReadonlyArray<string>> =>
      Flag.mapEffect(Flag.atLeast(flag, 1), (all) => Effect.forEach(all, relative))
  )

const relative = (whole: string) =>
  Effect.map(Path.Path, (path) => {
    const relative = path.relative(path.resolve("."), whole)
    return relative === "" ? "." : relative.startsWith("..") ? whole : relative
  })

/** A switch that is off by default. */
export const toggle = (name: string, options: Options): Flag.Flag<boolean> => switchOf(name, options, false)

/** A switch that is on by default, and has a `--no-` form. */
export const negatable = (name: string, options: Options): Flag.Flag<boolean> => switchOf(name, options, true)

const switchOf = (name: string, options: Options, value: boolean): Flag.Flag<boolean> => {
  const declared = boolean(name, options)
  return recorded(declared, String(value), Flag.withDefault(required(declared), value))
}

/** A switch whose default depends on other settings. */
export const optionalToggle = (name: string, options: Options): Flag.Flag<Option.Option<boolean>> =>
  optional(boolean(name, options))

const boolean = (name: string, options: Options) =>
  declare(name, { type: "boolean" }, Flag.Boolean, Config.Boolean, options, identity)

/** Accepts only some values. */
export const check = <A>(declared: Declared<A>, isValid: (value: A) => boolean, expected: string): Declared<A> => ({
  ...declared,
  problem: (value) => declared.problem?.(value) ?? (isValid(value as A) ? undefined : expected),
  flag: (source) => Flag.filter(declared.flag(source), isValid, () => expected)
})

/** Changes the values. */
export const map = <A, B>(declared: Declared<A>, f: (value: A) => B): Declared<B> => ({
  ...declared,
  flag: (source) => Flag.map(declared.flag(source), f)
})

// -----------------------------------------------------------------------------
// Without a value
// -----------------------------------------------------------------------------

export const required = <A>(declared: Declared<A>): Flag.Flag<A> =>
  recorded(declared, declared.otherwise, declared.flag(sourceOf(declared, declared.otherwise)))

export const optional = <A>(declared: Declared<A>): Flag.Flag<Option.Option<A>> =>
  recorded(declared, declared.otherwise, Flag.optional(required(declared)))

export const withDefault = <A>(declared: Declared<A>, value: A): Flag.Flag<A> => {
  const otherwise = declared.otherwise ?? (String(value) || undefined)
  return recorded(declared, otherwise, Flag.withDefault(declared.flag(sourceOf(declared, otherwise)), value))
}

// -----------------------------------------------------------------------------
// In a configuration file
// -----------------------------------------------------------------------------

interface Recorded extends Setting {
  readonly onlyWith: Use | undefined
}

const settings = new WeakMap<object, Recorded>()

const recorded = <A>(declared: Declared<unknown>, otherwise: string | undefined, flag: Flag.Flag<A>): Flag.Flag<A> => {
  const { description, fileVariable, name, onlyWith, problem, schema, unit } = declared
  if (fileVariable !== undefined) {
    settings.set(flag, { name, description, onlyWith, schema, unit, problem, variable: fileVariable, otherwise })
  }
  return flag
}

/** The settings of a configuration file that these flags have. */
export const settingsOf = (flags: Readonly<Record<string, object>>): ReadonlyArray<Setting> =>
  Object.values(flags).flatMap((flag) => settings.get(flag) ?? [])

/** The flags that are set and have no effect, because they are for another use of the command. */
export const withoutEffect = <Flags extends Readonly<Record<string, object>>>(
  flags: Flags,
  input: Readonly<Record<keyof Flags, unknown>>,
  uses: ReadonlySet<Use>
): ReadonlyArray<{ readonly name: string; readonly onlyWith: Use }> =>
  Object.entries(flags).flatMap(([field, flag]) => {
    const { name, onlyWith, otherwise } = settings.get(flag) ?? {}
    if (name === undefined || onlyWith === undefined || uses.has(onlyWith)) return []
    const value = input[field]
    const isSet = Option.isOption(value) ? Option.isSome(value) : String(value) !== otherwise
    return isSet ? [{ name, onlyWith }] : []
  })
