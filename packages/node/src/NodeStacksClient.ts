/**
 * The client on Node: `StacksClient` over undici.
 *
 * @since 0.1.0
 */

import type * as StacksClient from "@stacksapi/core/StacksClient"
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"

const layers = Effect.promise(() => import("./internal/client/layers.ts"))

/**
 * The options of `StacksClient`, and the proxy.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends StacksClient.Options {
  /**
   * The proxy for calls to the service, such as `new URL("http://proxy.test:3128")`; `Redacted` if it contains a password. `false` for
   * none. Default: the proxy of the setting `HTTPS_PROXY`, or `HTTP_PROXY` for a base URL with `http:`, except for the hosts in
   * `NO_PROXY`. This machine is never called through a proxy.
   *
   * **Details**
   *
   * The settings have the rules of Go's `net/http`, and hence of `buildkite-agent`. The upper-case name takes precedence over the
   * lower-case one. A proxy is `http://`, `https://` or `socks5://`; the default is `http://`. `NO_PROXY` is a list with commas of domains
   * with their subdomains (`corp.test`), subdomains only (`.corp.test`), addresses, ranges (`10.0.0.0/8`), and `*` for all hosts. All but
   * ranges can have a port (`corp.test:8443`). `ALL_PROXY` is not read.
   */
  readonly proxy?: URL | Redacted.Redacted | false | undefined
}

/**
 * Options of {@link layerConfigWith}: each is a value, or a `Config` of it.
 *
 * @since 0.2.0
 * @category options
 */
export interface ConfigOptions extends StacksClient.ConfigOptions {
  readonly proxy?: Options["proxy"] | Config.Config<NonNullable<Options["proxy"]>>
}

/**
 * A client over undici with its own connections, which close with the layer. On Bun, which has no undici, it uses Bun's `fetch`.
 *
 * **Example** (A first call)
 *
 * ```ts
 * import { StacksClient } from "@stacksapi/core"
 * import { NodeStacksClient } from "@stacksapi/node"
 * import { Effect, Redacted } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* StacksClient.StacksClient
 *   return yield* client.listScheduledJobs({ stackKey: "my-stack", clusterQueueKey: "_default" })
 * })
 *
 * program.pipe(
 *   Effect.provide(NodeStacksClient.layer({ token: Redacted.make("bkct_…") })),
 *   Effect.runPromise
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<StacksClient.StacksClient> =>
  Layer.unwrap(Effect.map(layers, ({ layer }) => layer(options)))

/**
 * Like {@link layerConfig}, with options, each a value or a `Config` of it.
 *
 * **Example** (A variable with another name)
 *
 * ```ts
 * import { NodeStacksClient } from "@stacksapi/node"
 * import { Config } from "effect"
 *
 * export const Client = NodeStacksClient.layerConfigWith({ token: Config.Redacted("MY_TOKEN") })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfigWith = (options: ConfigOptions): Layer.Layer<StacksClient.StacksClient, Config.ConfigError> =>
  Layer.unwrap(Effect.map(layers, ({ layerConfigWith }) => layerConfigWith(options)))

/**
 * A client with settings from the environment: `BUILDKITE_CLUSTER_TOKEN` (else `BUILDKITE_AGENT_TOKEN`) and
 * `BUILDKITE_AGENT_ENDPOINT`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: Layer.Layer<StacksClient.StacksClient, Config.ConfigError> = layerConfigWith({})
