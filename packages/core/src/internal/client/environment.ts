/**
 * The client's settings from the configuration.
 *
 * They are read from the `ConfigProvider` itself, because `Config`'s combinators would make every client a twentieth larger.
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { ConfigOptions, Options } from "../../StacksClient.ts"
import { oneLine } from "../schema/text.ts"

/**
 * A setting that is missing or invalid, in one sentence. It is a native error without a cause, so that Node and loggers print the sentence
 * and nothing else: of an ordinary `ConfigError` they print a schema.
 */
const invalid = (text: string): Effect.Effect<never, Config.ConfigError> => {
  const message = oneLine(text)
  const name = "ConfigError"
  const error: unknown = Reflect.construct(Error, [message], Config.ConfigError)
  for (const [key, value] of Object.entries({ _tag: name, name, stack: `${name}: ${message}` })) {
    Object.defineProperty(error, key, { value })
  }
  return Effect.fail(error as Config.ConfigError)
}

/** The options with the token and the base URL: those that are given, else the variables with the usual names. */
export const optionsFrom = Effect.fnUntraced(function* (configured: ConfigOptions) {
  const provider = yield* ConfigProvider.ConfigProvider
  const textOf = (name: string) =>
    Effect.map(
      Effect.catch(provider.load([name]), ({ message }) => invalid(message)),
      (node) => node?.value
    )
  const options: Record<string, unknown> = { ...configured }
  for (const name in options) {
    const option = options[name]
    if (Config.isConfig(option)) options[name] = yield* Effect.catch(option, ({ cause }) => invalid(cause.message))
  }
  const { baseUrl, token, ...others } = options as Partial<Options>
  const text = token ?? (yield* textOf("BUILDKITE_CLUSTER_TOKEN")) ?? (yield* textOf("BUILDKITE_AGENT_TOKEN"))
  if (text === undefined) return yield* invalid("BUILDKITE_CLUSTER_TOKEN is not set: use a cluster token (bkct_…)")
  const endpoint = baseUrl ?? (yield* textOf("BUILDKITE_AGENT_ENDPOINT"))
  if (baseUrl === undefined && endpoint !== undefined && !URL.canParse(String(endpoint))) {
    return yield* invalid(
      "BUILDKITE_AGENT_ENDPOINT is not an HTTP URL: use something like https://agent.buildkite.com/v3/"
    )
  }
  return { ...others, token: Redacted.isRedacted(text) ? text : Redacted.make(text), baseUrl: endpoint }
})
