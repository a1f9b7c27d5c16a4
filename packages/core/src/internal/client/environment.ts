/**
 * The client's settings from the configuration.
 *
 * They are read from the `ConfigProvider` itself, because `Config`'s combinators would make every client a twentieth larger.
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

/** The token, and the base URL if it is set. */
export const settings: Effect.Effect<
  { readonly token: Redacted.Redacted; readonly baseUrl: string | undefined },
  Config.ConfigError
> = Effect.flatMap(
  ConfigProvider.ConfigProvider,
  Effect.fnUntraced(function* (provider) {
    const textOf = (name: string) => Effect.map(provider.load([name]), (node) => node?.value)
    const { BUILDKITE_AGENT_ENDPOINT, BUILDKITE_CLUSTER_TOKEN } = yield* Schema.decodeUnknownEffect(Settings)({
      // Without both, the error names `BUILDKITE_CLUSTER_TOKEN`.
      BUILDKITE_CLUSTER_TOKEN: (yield* textOf("BUILDKITE_CLUSTER_TOKEN")) ?? (yield* textOf("BUILDKITE_AGENT_TOKEN")),
      BUILDKITE_AGENT_ENDPOINT: yield* textOf("BUILDKITE_AGENT_ENDPOINT")
    })
    return { token: Redacted.make(BUILDKITE_CLUSTER_TOKEN), baseUrl: BUILDKITE_AGENT_ENDPOINT }
  })
).pipe(Effect.catch((cause) => Effect.fail(new Config.ConfigError(cause))))
