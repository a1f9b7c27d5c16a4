/** Requests that must not run twice. */
import * as Effect from "effect/Effect"
import type * as StacksError from "../StacksError.ts"

/** Whether the service may have acted on a request that failed like this. */
const isAmbiguous = (error: StacksError.StacksError): boolean =>
  error._tag === "TransportError" ? error.mayHaveBeenProcessed : error._tag === "ErrorResponse" && error.status >= 500

/**
 * Sends again only after it is known that the earlier request did not take effect. Where that can't be found out, the
 * earlier failure stands, and the policy decides whether to ask again.
 */
export const atMostOnce = <A>(
  attempt: Effect.Effect<A, StacksError.StacksError>,
  done: A,
  tookEffect: Effect.Effect<boolean, StacksError.StacksError>
): Effect.Effect<A, StacksError.StacksError> => {
  let open: StacksError.StacksError | undefined
  const ask = (
    failure: StacksError.StacksError,
    otherwise: Effect.Effect<A, StacksError.StacksError>
  ): Effect.Effect<A, StacksError.StacksError> =>
    Effect.matchEffect(tookEffect, {
      onFailure: () => Effect.fail(failure),
      onSuccess: (didIt) => (didIt ? Effect.succeed(done) : otherwise)
    })
  const sendOnce = Effect.catch(attempt, (failure) => {
    const earlier = open
    if (isAmbiguous(failure)) open = failure
    return earlier !== undefined && !failure.isRetryable ? ask(failure, Effect.fail(failure)) : Effect.fail(failure)
  })
  return Effect.suspend(() => (open === undefined ? sendOnce : ask(open, sendOnce)))
}
