/**
 * One rate limit for many processes: `RateLimit.layerStore` over Redis.
 *
 * **When to use**
 *
 * Use it if several processes call the service with the same stack keys or organization. It needs the optional peer dependency `redis`, and
 * is not in the package's root export: import `@stacksapi/node/RedisRateLimit`.
 *
 * **Details**
 *
 * - If Redis can't be reached, hangs or refuses commands, calls continue: the process uses its part of each limit (see {@link Options}), logs
 *   that once, and returns to Redis by itself. See `RateLimit.layerStore`.
 * - All processes use the clock of the Redis server.
 * - Redis stores two small keys for each stack and scope, which expire within seconds after the last call. Losing them, by a restart for
 *   example, does no harm.
 *
 * **Example** (A client that shares its limits with others)
 *
 * ```ts
 * import { NodeStacksClient } from "@stacksapi/node"
 * import * as RedisRateLimit from "@stacksapi/node/RedisRateLimit"
 * import { Layer } from "effect"
 *
 * // From BUILDKITE_CLUSTER_TOKEN and REDIS_URL.
 * export const layer = NodeStacksClient.layerConfig.pipe(Layer.provide(RedisRateLimit.layerConfig))
 * ```
 *
 * @since 0.1.0
 */
import * as RateLimit from "@stacksapi/core/RateLimit"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { RateLimiterStore } from "effect/persistence/RateLimiter"
import * as Redacted from "effect/Redacted"
import * as Check from "./internal/options.ts"
import * as Store from "./internal/redis/store.ts"

/**
 * The URL is not one of Redis. The message does not show it, because it may hold a password.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidRedisUrl extends Data.TaggedError("InvalidRedisUrl") {
  override get message(): string {
    return "The URL of Redis has to begin with redis://, rediss:// or unix://"
  }
}

/**
 * The options: the Redis, and how the limits are shared.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends RateLimit.StoreOptions {
  /** `redis://user:password@host:port/database`; with TLS `rediss://…`. */
  readonly url: Redacted.Redacted<string>
  /** A prefix of the keys, which start with `stacksapi:`. Use another one for each service that is called. Default none. */
  readonly prefix?: string | undefined
}

/**
 * Shares the limits among all processes that use the same Redis. The layer is built when Redis has responded, or the first attempt to
 * connect has failed, which takes at most 4 seconds.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<never, InvalidRedisUrl | InvalidOptions> =>
  RateLimit.layerStoreWith(options).pipe(
    Layer.provide(
      Layer.effect(
        RateLimiterStore,
        Effect.gen(function* () {
          // Checked before waiting for Redis.
          yield* Check.integer("processes", options.processes, 1)
          if (!isRedisUrl(Redacted.value(options.url))) return yield* new InvalidRedisUrl()
          return yield* Store.make({ url: options.url, prefix: options.prefix ?? "" })
        })
      )
    )
  )

const isRedisUrl = (url: string): boolean =>
  URL.canParse(url) && ["redis:", "rediss:", "unix:"].includes(new URL(url).protocol)

/**
 * Like {@link layer}, with settings from the environment: `REDIS_URL`, `STACKSAPI_REDIS_PREFIX` (default none), and
 * `STACKSAPI_PROCESSES`, how many processes share the limits (default 4).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: Layer.Layer<never, InvalidRedisUrl | InvalidOptions | Config.ConfigError> =
  /*#__PURE__*/ Layer.unwrap(
    /*#__PURE__*/ Effect.map(
      Config.all({
        url: Config.Redacted("REDIS_URL"),
        prefix: Config.String("STACKSAPI_REDIS_PREFIX").pipe(Config.withDefault("")),
        processes: Config.Int("STACKSAPI_PROCESSES").pipe(Config.withDefault(4))
      }),
      layer
    )
  )
