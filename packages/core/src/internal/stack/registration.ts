/** The stack's registration: made at the start, and again whenever the service has forgotten it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { InvalidOptions, StacksError } from "../../StacksError.ts"
import { persistent, quick, readAgain, shutdownTimeout } from "./retryPolicies.ts"
import { isNotFound } from "./serviceErrors.ts"
import type { Settings } from "./settings.ts"
import { checkToken } from "./tokenCheck.ts"

export interface Registration {
  /** The number of the registration in force. */
  readonly current: () => number
  /** Registers again, unless that was done since the registration that the caller saw. */
  readonly renew: (seen: number) => Effect.Effect<void, StacksError>
  /** Registers again where a request is answered 404, and sends the request once more. */
  readonly withReRegister: <A>(request: Effect.Effect<A, StacksError>) => Effect.Effect<A, StacksError>
}

/** Registers. When the scope closes it deregisters, unless the stack detaches. */
export const make = Effect.fnUntraced(function* (
  client: StacksClient.Service,
  { key, metadata, onClose, queueKey, type }: Settings,
  emit: (event: StackEvent) => Effect.Effect<void>
): Effect.fn.Return<Registration, StacksError | InvalidOptions, Scope.Scope> {
  const stackKey = key
  const register = client
    .registerStack({ key, type, queueKey, metadata })
    .pipe(RetryPolicy.withPolicy(persistent), readAgain, Effect.asVoid)

  yield* checkToken(client)

  // A registration that is interrupted may have reached the service all the same.
  let mayBeRegistered = true
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() =>
      mayBeRegistered && onClose === "drain"
        ? client.deregisterStack({ stackKey }).pipe(
            RetryPolicy.withPolicy(quick),
            Effect.timeout(shutdownTimeout),
            Effect.catch((error) => Effect.logWarning(`The stack could not be deregistered: ${error.message}`))
          )
        : Effect.void
    )
  )
  yield* Effect.tapError(register, () => Effect.sync(() => (mayBeRegistered = false)))
  yield* emit(StackEvent.Registered({ stackKey, queueKey }))

  let current = 1
  const oneAtATime = yield* Semaphore.make(1)
  const renew = (seen: number): Effect.Effect<void, StacksError> =>
    oneAtATime.withPermit(
      Effect.suspend(() =>
        current === seen
          ? Effect.andThen(
              register,
              Effect.suspend(() => {
                current++
                return emit(StackEvent.ReRegistered({ stackKey, queueKey }))
              })
            )
          : Effect.void
      )
    )
  return {
    current: () => current,
    renew,
    withReRegister: (request) =>
      Effect.suspend(() => {
        const seen = current
        return Effect.catchIf(request, isNotFound, () => Effect.andThen(renew(seen), request))
      })
  }
})
