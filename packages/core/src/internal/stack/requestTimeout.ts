/** How long a stack waits for the response to a request that carries many jobs. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { AttemptTimeout } from "../client/attemptTimeout.ts"

/** The client's own timeout is for single calls. A request for many jobs must leave time to divide it. */
export const requestTimeout = Duration.seconds(15)

/** Bounds each attempt of a request. */
export const within =
  (duration: Duration.Duration) =>
  <A, E, R>(request: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(request, AttemptTimeout, duration)
