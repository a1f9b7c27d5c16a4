/**
 * What to do after a failure that leaves it open whether the service acted: a lost response, a timeout, a 5xx.
 */
import * as Effect from "effect/Effect"
import type * as StacksError from "../../StacksError.ts"

/** Whether the service may have acted on a request that failed like this. */
const isOpen = (error: StacksError.StacksError): boolean =>
  error._tag === "TransportError" ? error.mayHaveBeenProcessed : error._tag === "ErrorResponse" && error.status >= 500

/**
 * For a request that must not run twice: sends again only after it is known that the earlier one did not take effect. Where
 * that can't be found out, the open failure stands, and the policy decides whether to ask again.
 */
export const atMostOnce = <A>(
  attempt: Effect.Effect<A, StacksError.StacksError>,
  done: A,
  tookEffect: Effect.Effect<boolean, StacksError.StacksError>
): Effect.Effect<A, StacksError.StacksError> => {
  let open: StacksError.StacksError | undefined
  const unlessDone = (
    openFailure: StacksError.StacksError,
    otherwise: Effect.Effect<A, StacksError.StacksError>
  ): Effect.Effect<A, StacksError.StacksError> =>
    Effect.matchEffect(tookEffect, {
      onFailure: () => Effect.fail(openFailure),
      onSuccess: (didIt) => (didIt ? Effect.succeed(done) : otherwise)
    })
  const send = Effect.catch(attempt, (failure) => {
    // An earlier request may have landed after all, between the question and this answer.
    if (open !== undefined && !failure.isRetryable) return unlessDone(open, Effect.fail(failure))
    if (isOpen(failure)) open = failure
    return Effect.fail(failure)
  })
  return Effect.suspend(() => (open === undefined ? send : unlessDone(open, send)))
}

/**
 * For a request that is safe to repeat but finds nothing the second time: not found, after an open failure, is success.
 */
export const doneWhenGone = <A>(
  attempt: Effect.Effect<A, StacksError.StacksError>,
  done: A
): Effect.Effect<A, StacksError.StacksError> => {
  let mayBeDone = false
  return Effect.catch(attempt, (failure) => {
    if (mayBeDone && failure._tag === "ErrorResponse" && failure.reason._tag === "NotFound") return Effect.succeed(done)
    mayBeDone ||= isOpen(failure)
    return Effect.fail(failure)
  })
}
