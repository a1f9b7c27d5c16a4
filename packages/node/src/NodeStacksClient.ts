/**
 * The client on Node: `StacksClient` over undici.
 *
 * @since 0.1.0
 */

import * as StacksClient from "@stacksapi/core/StacksClient"
import type * as Config from "effect/Config"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as UndiciHttpClient from "./internal/client/undici.ts"

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
 *   return yield* client.listScheduledJobs({ stackKey: "my-stack", clusterQueueKey: "default" })
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
  Layer.provide(StacksClient.layer(options), UndiciHttpClient.layerProxied(options.proxy))

/**
 * Like {@link layerConfig}, with more options.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfigWith = (
  options: Omit<Options, "token" | "baseUrl">
): Layer.Layer<StacksClient.StacksClient, Config.ConfigError> =>
  Layer.provide(StacksClient.layerConfigWith(options), UndiciHttpClient.layerProxied(options.proxy))

/**
 * A client with settings from the environment: `BUILDKITE_CLUSTER_TOKEN` (else `BUILDKITE_AGENT_TOKEN`) and
 * `BUILDKITE_AGENT_ENDPOINT`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: Layer.Layer<StacksClient.StacksClient, Config.ConfigError> = layerConfigWith({})
