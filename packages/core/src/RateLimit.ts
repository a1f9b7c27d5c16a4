/**
 * Keeping within the service's rate limits: layers that hold calls back before the service has to refuse them.
 *
 * Without one of these layers calls are not limited.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import type * as Headers from "effect/http/Headers"
import * as Layer from "effect/Layer"
import type { RateLimitStatus } from "./internal/responseHeaders.ts"
import type { Operation } from "./StacksApi.ts"

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
