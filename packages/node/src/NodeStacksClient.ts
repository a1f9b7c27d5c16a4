/**
 * The client on Node: core's `StacksClient` over undici.
 *
 * @since 0.1.0
 */

import * as StacksClient from "@stacksapi/core/StacksClient"
import type * as Config from "effect/Config"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as UndiciHttpClient from "./internal/client/undici.ts"

/**
 * The options of `StacksClient`, and how to get out to the network.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends StacksClient.Options {
  /**
   * The proxy through which the service is called, such as `new URL("http://proxy.test:3128")`; `Redacted` if a password is in
   * it. `false`: none. Default: the one that the settings `HTTPS_PROXY`, or `HTTP_PROXY` for a base URL with `http:`, name, but
   * for the hosts in `NO_PROXY`. This machine is never called through a proxy.
   *
   * **Details**
   *
   * The settings are those of Go's `net/http`, hence of `buildkite-agent`: each by its upper-case name, else by the lower-case one.
   * A proxy is `http://`, `https://` or `socks5://`, `http://` where that is missing. `NO_PROXY` is a list with commas: a domain
   * and all within it (`corp.test`), only what is within it (`.corp.test`), an address, a range (`10.0.0.0/8`), any of them but
   * ranges with a port (`corp.test:8443`), and `*` for all. `ALL_PROXY` is not read.
   */
  readonly proxy?: URL | Redacted.Redacted | false | undefined
}

/**
 * A client over undici, with connections of its own that close with the layer. On Bun, which has no undici, it is a client over
 * Bun's `fetch`.
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
 * A client set up from the environment: `BUILDKITE_CLUSTER_TOKEN` (else `BUILDKITE_AGENT_TOKEN`) and
 * `BUILDKITE_AGENT_ENDPOINT`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: Layer.Layer<StacksClient.StacksClient, Config.ConfigError> = layerConfigWith({})
