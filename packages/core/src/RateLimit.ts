/**
 * Rate limits: layers that delay calls, so that they stay within the service's limits.
 *
 * The service counts a stack's requests by scope (one for most endpoints) in a sliding window of one second. Without one of these
 * layers, calls are not limited. Provide a layer around calls to limit these calls, or beneath a client's layer to limit all calls
 * of that client.
 *
 * The metrics `stacksapi_rate_limit_waits` and `stacksapi_rate_limit_wait_seconds` count and time the delays, by `operation`. The
 * gauges `stacksapi_rate_limit` and `stacksapi_rate_limit_remaining` show what the service last reported, by `scope`.
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

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

export type {
  /**
   * The service's count of requests, as one response reports it.
   *
   * @since 0.1.0
   * @category models
   */
  RateLimitStatus
}

/**
 * An attempt to be sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Call {
  readonly operation: Operation
  /** The key of the stack that calls. Each stack has its own limits. */
  readonly stackKey: string
}

/**
 * What a limiter learns from a response, successful or not.
 *
 * @since 0.1.0
 * @category models
 */
export interface Observation {
  readonly status: number
  readonly headers: Headers.Headers
  /** How long the service asks to wait, if it does. */
  readonly retryAfter: Duration.Duration | undefined
}

/**
 * Delays attempts so that they stay within the limits.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limiter {
  /** Runs an attempt when it is allowed. The attempt calls `observe` with its response, if there is one. */
  readonly limit: <A, E, R>(
    call: Call,
    attempt: (observe: (response: Observation) => void) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The limiter in force. The default is {@link none}.
 *
 * @since 0.1.0
 * @category references
 */
export const RateLimit: Context.Reference<Limiter> = Context.Reference("@stacksapi/core/RateLimit", {
  defaultValue: () => none
})

/**
 * Options of {@link layerStoreWith}.
 *
 * @since 0.1.0
 * @category options
 */
export interface StoreOptions {
  /**
   * How many processes share each limit, at most. While the store is down, each process keeps to its share of the limit. Then a
   * number that is too low makes the processes exceed the limit, and a number that is too high wastes part of it. Always set it for
   * hundreds of processes. Otherwise a process that waits for its turn treats the store as unavailable. At least 1, default 4.
   */
  readonly processes?: number | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Limits nothing.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: Limiter = { limit: (_, attempt) => attempt(constVoid) }

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Limits nothing, even if a layer below would.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNone: Layer.Layer<never> = Layer.succeed(RateLimit, none)

/**
 * Keeps one process within the limits, by the service's own rules.
 *
 * **When to use**
 *
 * Use it if one process works for a stack. If several do, use {@link layerStore}.
 *
 * **Details**
 *
 * - Each stack key and scope has the documented limit until a response reports another one in `RateLimit-Limit`. A response's
 *   `RateLimit-Scope` changes the scope that an endpoint is counted under.
 * - A request counts from before it is sent until one second (and 5 ms) after its response. A request without a response counts
 *   until two seconds after its end. So with round trips of `t` seconds, `1 / (1 + t)` of the limit can be used. If only this
 *   process serves the stack, the stack gets no 429.
 * - Calls are sent first in, first out. An interrupted call leaves the queue.
 * - `Retry-After`, with any status, pauses all calls of that stack and scope. So does a 429 without it, until `RateLimit-Reset`,
 *   or for one second. A pause is 5 minutes at most.
 * - `RateLimit-Remaining: 0` pauses calls until `RateLimit-Reset` if the count shows that other processes use the same limit.
 * - A stack and scope without calls is forgotten after about a minute. The limit that the service has reported is kept.
 *
 * **Gotchas**
 *
 * Each time the layer is built, it counts for itself. Share one layer among all clients of a stack.
 *
 * @see {@link layerStore} for several processes
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<never> = /*#__PURE__*/ Layer.sync(RateLimit, () =>
  makeLimiter((_key, limit) => new SlidingWindow(limit))
)

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
 * Keeps all processes that share a store within the limits together.
 *
 * **When to use**
 *
 * Use it if several processes work for a stack. For Redis on Node, use `RedisRateLimit` of `@stacksapi/node`, which provides the
 * store as well.
 *
 * **Details**
 *
 * Stores have token buckets, not sliding windows. A bucket holds a fiftieth of the limit (at least one request) and is refilled so
 * slowly that no second exceeds the limit, even if requests reach the service up to 75 ms closer together than they were sent. Of
 * a limit of 10 this leaves 9.3 requests a second, of 1000 it leaves 911. A request whose response takes 75 ms longer than the
 * fastest one costs two tokens, because the service may have counted it late.
 *
 * Calls are sent first in, first out within a process. The processes take turns; each takes permits for at most a twentieth of
 * the limit. Each process also counts for itself, and applies `RateLimit-Limit`, `Retry-After` and 429 as {@link layerMemory} does.
 * A pause is not shared: the other processes get theirs from the service.
 *
 * A circuit breaker handles outages of the store:
 *
 * - It opens if the store fails, does not answer within a second, or asks for a wait of more than 30 seconds. The bound is higher
 *   if `processes` processes need more than 30 seconds to send two requests each.
 * - While it is open, the process limits itself to its share, a quarter of each limit unless {@link StoreOptions} says otherwise.
 *   Before it sends the first request of its share, it waits until earlier grants have expired: 1.1 seconds, plus the time for which
 *   the store has granted requests in advance (at most 5 seconds). It probes the store every 2 seconds.
 * - When the store answers, the circuit closes: each call asks the store again. For 4.5 seconds the process also keeps to its
 *   share, until the other processes' circuits have closed too.
 *
 * So if all processes lose the store, they exceed no limit. If only some of them do, the others may get a 429.
 *
 * An outage logs one warning, and its end one line at level `Info`. The metric `stacksapi_rate_limit_store_up` is 0 during an
 * outage and 1 otherwise; `stacksapi_rate_limit_store_outages` counts outages.
 *
 * **Gotchas**
 *
 * The clocks of the processes must agree within about 30 ms, because Effect's stores use them: a process that is behind waits
 * longer. The store's keys begin with `stacksapi:`. Use a store or a prefix of its own for each service, such as a test
 * environment.
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
 * @see {@link layerStoreWith} for options
 * @see {@link layerMemory} for one process
 * @since 0.1.0
 * @category layers
 */
export const layerStore: Layer.Layer<never, never, RateLimiterStore> = /*#__PURE__*/ layerShared(4)

// -----------------------------------------------------------------------------
// Combinators
// -----------------------------------------------------------------------------

/**
 * Uses a limiter for the calls in an effect that have no other one, neither in their context nor from their client.
 *
 * **When to use**
 *
 * Use it in a runtime that must not exceed the limits, but must not replace its user's limiter either. `Stack` does so.
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
 * Changes the limiter of every call in an effect, for example to delay calls for another reason too.
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
