/**
 * One rate limit for many processes: core's `RateLimit.layerStore` over a Redis.
 *
 * Needs the package `redis`, an optional peer: only who imports this module by its name loads it.
 *
 * **Details**
 *
 * - Without Redis, because it can't be reached at the start, ends, hangs or refuses, calls go on: the process keeps to its part
 *   of each limit (see {@link Options}), logs that once, and comes back to Redis by itself. `RateLimit.layerStore` says how.
 * - All processes go by the clock of the Redis server.
 * - What is stored is two small keys for each stack and scope, which expire within seconds after the last call. A Redis that
 *   lost them, by a restart for example, does no harm.
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
 * Which Redis, and how its limits are shared.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends RateLimit.StoreOptions {
  /** `redis://user:password@host:port/database`; with TLS `rediss://…`. */
  readonly url: Redacted.Redacted<string>
  /** Goes before the keys, which begin with `stacksapi:`. Each service that is called needs its own. Default none. */
  readonly prefix?: string | undefined
}

/**
 * The URL is none of a Redis. It may hold a password, so it is not told.
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
 * Keeps all processes that use one Redis within the limits together. It is ready when Redis has answered, or the first attempt
 * to connect to it has failed, which takes 4 seconds at most.
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
          // Before Redis is waited for.
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
 * Set up from the environment: `REDIS_URL`, `STACKSAPI_REDIS_PREFIX` (default none), and `STACKSAPI_PROCESSES`, how many processes
 * share the limits (default 4).
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
