/** How long a stack waits for the response to a request for many jobs. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { AttemptTimeout } from "../client/attemptTimeout.ts"

/** Shorter than the client's timeout, because a request for many jobs may have to be divided and repeated. */
export const requestTimeout = Duration.seconds(15)

/** Limits the time of each attempt. */
export const within =
  (duration: Duration.Duration) =>
  <A, E, R>(request: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(request, AttemptTimeout, duration)
