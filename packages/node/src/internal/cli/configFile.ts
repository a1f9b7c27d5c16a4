/**
 * The configuration file: a YAML file with the settings of flags, by the names of the flags. Each setting is valid if the flag's is, and
 * is read where the flag's variable is not set.
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Failed } from "./failure.ts"
import * as InputFile from "./inputFile.ts"
import { flagOf } from "./oneQueue.ts"
import type { Setting } from "./setting.ts"

/** The settings of the file of `--config` or STACKSAPI_CONFIG, below those of the environment. */
export const provider = Effect.fnUntraced(function* (args: ReadonlyArray<string>, settings: ReadonlyArray<Setting>) {
  const environment = yield* ConfigProvider.ConfigProvider
  const named = yield* Config.option(Config.String("STACKSAPI_CONFIG"))
  // Read before the arguments are parsed, because the file has the values of flags that they leave out.
  const file = flagOf(args, "--config") ?? Option.getOrElse(named, () => "")
  if (file === "") return environment
  const text = yield* Effect.mapError(
    InputFile.read(file, InputFile.secretBounds),
    ({ message }) => new Failed({ message: `Can't read the configuration file ${file}: ${message}` })
  )
  const { read } = yield* Effect.promise(() => import("./configDocument.ts"))
  const values = yield* read(file, text, settings)
  if (flagOf(args, "--endpoint") === undefined) yield* warnOfEndpoint(file, values["BUILDKITE_AGENT_ENDPOINT"])
  return ConfigProvider.orElse(environment, ConfigProvider.fromUnknown(values))
})

/** Warns of a variable that may be left over, because the stack would belong to another service. */
const warnOfEndpoint = Effect.fnUntraced(function* (file: string, endpoint: unknown) {
  const variable = Option.getOrUndefined(yield* Config.option(Config.String("BUILDKITE_AGENT_ENDPOINT")))
  if (endpoint === undefined || variable === undefined || variable === endpoint) return
  // Without a user and a password.
  const host = URL.canParse(variable) ? ` (${new URL(variable).host})` : ""
  yield* Effect.logWarning(`The variable BUILDKITE_AGENT_ENDPOINT${host} takes precedence over the endpoint in ${file}`)
})
