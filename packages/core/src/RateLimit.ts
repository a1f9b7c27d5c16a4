/**
 * Keeping within the service's rate limits: layers that hold calls back before the service has to refuse them.
 *
 * The service counts a stack's requests by scope (the endpoint, mostly) in a sliding window of one second. Without one of
 * these layers calls are not limited. A layer limits the calls that can see it: those around which it is provided, or all of a
 * client's where it is provided beneath the client's layer.
 *
 * Each wait is counted by the metric `stacksapi_rate_limit_waits` and timed by `stacksapi_rate_limit_wait_seconds`, by operation.
 * The gauges `stacksapi_rate_limit` and `stacksapi_rate_limit_remaining` are what the service last said, by `scope`.
 *
 * **Example** (A client that limits itself)
 *
 * ```ts
 * import * as RateLimit from "@stacksapi/core/RateLimit"
 * import * as StacksClient from "@stacksapi/core/StacksClient"
 * import * as Layer from "effect/Layer"
 *
 * export const layer = StacksClient.layerConfig.pipe(Layer.provide(RateLimit.layerMemory))
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constVoid, dual } from "effect/Function"
import type * as Headers from "effect/http/Headers"
import * as Layer from "effect/Layer"
import { RateLimiterStore } from "effect/persistence/RateLimiter"
import * as Check from "./internal/options.ts"
import { make as makeLimiter } from "./internal/rateLimit/limiter.ts"
import { FallbackRateLimit, MapRateLimit } from "./internal/rateLimit/references.ts"
import { make as makeSharedStore } from "./internal/rateLimit/sharedStore.ts"
import { SharedWindow } from "./internal/rateLimit/sharedWindow.ts"
import { SlidingWindow } from "./internal/rateLimit/slidingWindow.ts"
import type { RateLimitStatus } from "./internal/responseHeaders.ts"
import type { Operation } from "./StacksApi.ts"
import type { InvalidOptions } from "./StacksError.ts"

export type {
  /**
   * The service's count of requests, as it stood with one response.
   *
   * @since 0.1.0
   * @category models
   */
  RateLimitStatus
}

/**
 * One attempt that wants to be sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Call {
  readonly operation: Operation
  /** The key of the stack that calls; limits are counted per stack. */
  readonly stackKey: string
}

/**
 * What a limiter learns from a response, success or not.
 *
 * @since 0.1.0
 * @category models
 */
export interface Observation {
  readonly status: number
  readonly headers: Headers.Headers
  /** How long the service asks to wait, where it does. */
  readonly retryAfter: Duration.Duration | undefined
}

/**
 * Holds attempts back so that they stay within the limits.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limiter {
  /** Runs an attempt when it is allowed; `observe` is called with its response, if there was one. */
  readonly limit: <A, E, R>(
    call: Call,
    attempt: (observe: (response: Observation) => void) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
}

/**
 * Holds nothing back.
 *
 * @since 0.1.0
 * @category limiters
 */
export const none: Limiter = { limit: (_, attempt) => attempt(constVoid) }

/**
 * The limiter in force. Without any layer it is {@link none}.
 *
 * @since 0.1.0
 * @category references
 */
export const RateLimit: Context.Reference<Limiter> = Context.Reference("@stacksapi/core/RateLimit", {
  defaultValue: () => none
})

/**
 * Limits nothing, also where a layer below would.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNone: Layer.Layer<never> = Layer.succeed(RateLimit, none)

/**
 * Keeps one process within the limits, as exactly as the service counts: a stack that no other process works for gets no 429,
 * and uses all of its limit but what its requests' round trips take.
 *
 * **Details**
 *
 * - Each stack key and scope has the documented limit, until a response says otherwise: `RateLimit-Limit` replaces it, and
 *   `RateLimit-Scope` says what else is counted with it.
 * - A request counts from before it is sent until one second (and 5 ms) after its response came, since the service counted it
 *   no later than that. Without a response it counts until two seconds after its end. With a round trip of `t` seconds,
 *   `1 / (1 + t)` of the limit can be used.
 * - Calls that have to wait go in the order in which they came. A call that is interrupted leaves its place to the next.
 * - `Retry-After`, with whatever status, pauses all calls of that stack and scope together; so does a 429 without it, until
 *   `RateLimit-Reset`, else for one second. A pause is 5 minutes at most.
 * - `RateLimit-Remaining: 0` holds calls back until `RateLimit-Reset` where others must have used the limit as well.
 * - A stack and scope without calls is forgotten after a minute or so, except for the endpoint's limit.
 *
 * **Gotchas**
 *
 * Clients of the same stack must share one such layer: each time it is built it counts for itself. Where several processes
 * work for one stack, use {@link layerStore}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<never> = /*#__PURE__*/ Layer.sync(RateLimit, () =>
  makeLimiter((_key, limit) => new SlidingWindow(limit))
)

/**
 * How processes share limits.
 *
 * @since 0.1.0
 * @category options
 */
export interface StoreOptions {
  /**
   * How many processes share each limit, at most, while the store is gone: each keeps to its part. Too few, and together they
   * exceed the limit then; too many, and they leave some of it unused. Hundreds of processes must say so in any case: each may
   * have to wait for all others, and would take the store for lost. At least 1, default 4.
   */
  readonly processes?: number | undefined
}

/**
 * Like {@link layerStore}, with options.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStoreWith = (options: StoreOptions): Layer.Layer<never, InvalidOptions, RateLimiterStore> =>
  Layer.unwrap(Effect.map(Check.integer("processes", options.processes ?? 4, 1, 1_000_000), layerShared))

const layerShared = (processes: number): Layer.Layer<never, never, RateLimiterStore> =>
  Layer.effect(
    RateLimit,
    Effect.gen(function* () {
      const store = yield* makeSharedStore(yield* RateLimiterStore, processes)
      return makeLimiter((key, limit) => new SharedWindow(key, limit, store))
    })
  )

/**
 * Keeps all processes that share a store, in Redis for example, within the limits together. For Redis on Node there is
 * `@stacksapi/node/RedisRateLimit`.
 *
 * **Details**
 *
 * A store knows token buckets, no sliding windows. So that no second can see more than the limit, a bucket holds a fiftieth
 * of it (at least one request), and fills up so slowly that both together stay within the limit, even if requests come to the
 * service up to 75 ms closer to each other than they left. Of a limit of 10 that leaves 9.3 requests a second, of 1000 it
 * leaves 911. A request whose response takes 75 ms longer than the fastest one's costs twice, since the service may have
 * counted it late.
 *
 * Calls go in the order in which they came, within a process and, a twentieth of the limit at a time, among the processes.
 * Each process counts for itself too, and heeds `RateLimit-Limit`, `Retry-After` and 429 as {@link layerMemory} does; a pause
 * is its own, the other processes get theirs from the service.
 *
 * When the store fails, does not answer within a second, or would make wait for more than 30 seconds (or longer than each of
 * `processes` takes to send two requests, where that is more), calls go on: after 1.1 seconds and as long as the store granted
 * ahead (5 seconds at most), in which what was granted before runs out, the process keeps to a quarter of each limit by itself
 * (see {@link StoreOptions}). It asks the store every 2 seconds whether it is back. Then it asks it for each call again, and
 * still keeps to its part for 4.5 seconds, in which the others come back too. So a store that all processes lose lets them
 * exceed no limit; where only some of them lose it, those who have it may get a 429.
 *
 * Each such outage is logged once, as a warning, and its end at `Info`. The metric `stacksapi_rate_limit_store_up` is 0
 * meanwhile and else 1; `stacksapi_rate_limit_store_outages` counts them.
 *
 * **Gotchas**
 *
 * The processes' clocks have to agree within some 30 ms, because Effect's stores go by them: a process behind the others is
 * kept waiting. The store's keys begin with `stacksapi:`; give each service (a test environment, for example) a store, or a
 * prefix, of its own.
 *
 * **Example** (Three processes and a Redis)
 *
 * ```ts
 * import * as RateLimit from "@stacksapi/core/RateLimit"
 * import * as StacksClient from "@stacksapi/core/StacksClient"
 * import * as Layer from "effect/Layer"
 * import * as RateLimiter from "effect/persistence/RateLimiter"
 *
 * // Needs Effect's `Redis`.
 * export const layer = StacksClient.layerConfig.pipe(
 *   Layer.provide(RateLimit.layerStore),
 *   Layer.provide(RateLimiter.layerStoreRedis({ prefix: "ci:" }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStore: Layer.Layer<never, never, RateLimiterStore> = /*#__PURE__*/ layerShared(4)

// -----------------------------------------------------------------------------
// Around an effect
// -----------------------------------------------------------------------------

/**
 * Uses a limiter for the calls in an effect that have no other: neither {@link RateLimit} in their context, nor one that their
 * client was made with.
 *
 * **When to use**
 *
 * In a runtime that must not exceed the limits, and must not replace what its user has chosen. `Stack` does so.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withFallback: {
  (limiter: Limiter): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(effect: Effect.Effect<A, E, R>, limiter: Limiter): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(effect: Effect.Effect<A, E, R>, limiter: Limiter): Effect.Effect<A, E, R> =>
    Effect.updateService(effect, FallbackRateLimit, (outer) => outer ?? limiter)
)

/**
 * Changes the limiter of every call in an effect, whichever that is: to hold calls back for another reason too.
 *
 * @since 0.2.0
 * @category combinators
 */
export const mapLimiter: {
  (f: (limiter: Limiter) => Limiter): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(effect: Effect.Effect<A, E, R>, f: (limiter: Limiter) => Limiter): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(effect: Effect.Effect<A, E, R>, f: (limiter: Limiter) => Limiter): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, MapRateLimit, f)
)
