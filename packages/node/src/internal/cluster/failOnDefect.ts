/** Fails the process if one of its loops dies: it would look like a healthy member that stopped working. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

export type FailOnDefect = <A, R>(effect: Effect.Effect<A, never, R>) => Effect.Effect<A, never, R>

export const make =
  <E>(failure: Deferred.Deferred<never, E>): FailOnDefect =>
  (effect) =>
    Effect.onError(effect, (cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Deferred.failCause(failure, cause)
    )
