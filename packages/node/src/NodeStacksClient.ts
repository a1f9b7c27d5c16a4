/**
 * The client on Node: core's `StacksClient` over undici.
 *
 * @since 0.1.0
 */

import * as StacksClient from "@stacksapi/core/StacksClient"
import type * as Config from "effect/Config"
import * as Layer from "effect/Layer"
import * as UndiciHttpClient from "./internal/client/undici.ts"

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
export const layer = (options: StacksClient.Options): Layer.Layer<StacksClient.StacksClient> =>
  Layer.provide(StacksClient.layer(options), UndiciHttpClient.layer)

/**
 * Like {@link layerConfig}, with more options.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfigWith = (
  options: Omit<StacksClient.Options, "token" | "baseUrl">
): Layer.Layer<StacksClient.StacksClient, Config.ConfigError> =>
  Layer.provide(StacksClient.layerConfigWith(options), UndiciHttpClient.layer)

/**
 * A client set up from the environment: `BUILDKITE_CLUSTER_TOKEN` (else `BUILDKITE_AGENT_TOKEN`) and
 * `BUILDKITE_AGENT_ENDPOINT`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: Layer.Layer<StacksClient.StacksClient, Config.ConfigError> = layerConfigWith({})
