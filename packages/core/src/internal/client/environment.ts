/**
 * The settings of a client that come from the configuration.
 *
 * They are read from the `ConfigProvider` itself: `Config`'s combinators, with the codecs behind them, would make up a
 * twentieth of everybody's client for the sake of three texts.
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

const Settings = Schema.Struct({
  BUILDKITE_CLUSTER_TOKEN: Schema.String,
  BUILDKITE_AGENT_ENDPOINT: Schema.optional(
    Schema.String.check(Schema.makeFilter((text) => URL.canParse(text), { expected: "a valid URL string" }))
  )
})

/** The token and, where there is one, the base URL. */
export const settings: Effect.Effect<
  { readonly token: Redacted.Redacted; readonly baseUrl: string | undefined },
  Config.ConfigError
> = Effect.flatMap(
  ConfigProvider.ConfigProvider,
  Effect.fnUntraced(function* (provider) {
    const textOf = (name: string) => Effect.map(provider.load([name]), (node) => node?.value)
    const { BUILDKITE_AGENT_ENDPOINT, BUILDKITE_CLUSTER_TOKEN } = yield* Schema.decodeUnknownEffect(Settings)({
      // With neither, the error names the variable that should be set.
      BUILDKITE_CLUSTER_TOKEN: (yield* textOf("BUILDKITE_CLUSTER_TOKEN")) ?? (yield* textOf("BUILDKITE_AGENT_TOKEN")),
      BUILDKITE_AGENT_ENDPOINT: yield* textOf("BUILDKITE_AGENT_ENDPOINT")
    })
    return { token: Redacted.make(BUILDKITE_CLUSTER_TOKEN), baseUrl: BUILDKITE_AGENT_ENDPOINT }
  })
).pipe(Effect.catch((cause) => Effect.fail(new Config.ConfigError(cause))))
