/**
 * Retries after ambiguous failures: after a lost response, a timeout or a 5xx, the service may have acted on the request.
 */
import * as Effect from "effect/Effect"
import type * as StacksError from "../../StacksError.ts"

/** Whether the service may have acted on the request. */
const isAmbiguous = (error: StacksError.StacksError): boolean =>
  error._tag === "TransportError" ? error.mayHaveBeenProcessed : error._tag === "ErrorResponse" && error.status >= 500

/**
 * For a request that must not take effect twice. After an ambiguous failure, it is sent again only if `tookEffect` is false. If
 * `tookEffect` fails, so does the attempt, with the ambiguous failure, and the policy decides about a retry.
 */
export const atMostOnce = <A>(
  attempt: Effect.Effect<A, StacksError.StacksError>,
  done: A,
  tookEffect: Effect.Effect<boolean, StacksError.StacksError>
): Effect.Effect<A, StacksError.StacksError> => {
  let ambiguous: StacksError.StacksError | undefined
  const unlessDone = (
    ambiguousFailure: StacksError.StacksError,
    otherwise: Effect.Effect<A, StacksError.StacksError>
  ): Effect.Effect<A, StacksError.StacksError> =>
    Effect.matchEffect(tookEffect, {
      onFailure: () => Effect.fail(ambiguousFailure),
      onSuccess: (isDone) => (isDone ? Effect.succeed(done) : otherwise)
    })
  const send = Effect.catch(attempt, (failure) => {
    // An earlier request may have taken effect after `tookEffect` was asked.
    if (ambiguous !== undefined && !failure.isRetryable) return unlessDone(ambiguous, Effect.fail(failure))
    if (isAmbiguous(failure)) ambiguous = failure
    return Effect.fail(failure)
  })
  return Effect.suspend(() => (ambiguous === undefined ? send : unlessDone(ambiguous, send)))
}

/** For a request that removes something. After an ambiguous failure, a 404 is a success. */
export const doneWhenGone = <A>(
  attempt: Effect.Effect<A, StacksError.StacksError>,
  done: A
): Effect.Effect<A, StacksError.StacksError> => {
  let mayBeDone = false
  return Effect.catch(attempt, (failure) => {
    if (mayBeDone && failure._tag === "ErrorResponse" && failure.reason._tag === "NotFound") return Effect.succeed(done)
    mayBeDone ||= isAmbiguous(failure)
    return Effect.fail(failure)
  })
}
