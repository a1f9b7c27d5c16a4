/** The stack's registration: at the start, and again when the service has forgotten it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { InvalidOptions, StacksError } from "../../StacksError.ts"
import { endless, persistent, quick, readAgain, shutdownTimeout } from "./retryPolicies.ts"
import { isNotFound, isRefusal, withAdvice } from "./serviceErrors.ts"
import type { Settings } from "./settings.ts"
import { checkToken } from "./tokenCheck.ts"

export interface Registration {
  /** The number of the current registration. */
  readonly current: () => number
  /** Registers again, unless there is a newer registration than the one that the caller saw. */
  readonly registerAgain: (registrationBefore: number) => Effect.Effect<void, StacksError>
  /** Registers again if a request gets a 404, and repeats the request once. */
  readonly withReRegister: <A>(request: Effect.Effect<A, StacksError>) => Effect.Effect<A, StacksError>
}

/** Registers the stack. Deregisters it when the scope closes, unless the stack detaches. */
export const make = Effect.fnUntraced(function* (
  client: StacksClient.Service,
  settings: Settings,
  emit: (event: StackEvent) => Effect.Effect<void>
): Effect.fn.Return<Registration, StacksError | InvalidOptions, Scope.Scope> {
  const { key: stackKey, onClose, queueKey } = settings
  const request = register(client, settings)

  yield* checkToken(client)

  // An interrupted registration may have reached the service.
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
  yield* Effect.tapError(registerFirst(request, emit), () => Effect.sync(() => (mayBeRegistered = false)))
  yield* emit(StackEvent.Registered({ stackKey, queueKey }))

  let current = 1
  const oneAtATime = yield* Semaphore.make(1)
  const registerAgain = (registrationBefore: number): Effect.Effect<void, StacksError> =>
    oneAtATime.withPermit(
      Effect.suspend(() =>
        current === registrationBefore
          ? Effect.andThen(
              request.pipe(RetryPolicy.withPolicy(persistent), readAgain),
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
    registerAgain,
    withReRegister: (request) =>
      Effect.suspend(() => {
        const registrationBefore = current
        return Effect.catchIf(request, isNotFound, () => Effect.andThen(registerAgain(registrationBefore), request))
      })
  }
})

const register = (
  client: StacksClient.Service,
  { key, metadata, queueKey, type }: Settings
): Effect.Effect<void, StacksError> => Effect.asVoid(client.registerStack({ key, type, queueKey, metadata }))

/**
 * Registers for the first time. Retries without a time limit while the service fails. A refusal ends the start at once, because nothing
 * runs yet, and a wrong token or queue should be reported early.
 */
const registerFirst = (
  request: Effect.Effect<void, StacksError>,
  emit: (event: StackEvent) => Effect.Effect<void>
): Effect.Effect<void, StacksError> =>
  request.pipe(
    RetryPolicy.withPolicy(RetryPolicy.none),
    Effect.retry({
      schedule: endless,
      while: (error) =>
        isRefusal(error)
          ? Effect.succeed(false)
          : Effect.as(emit(StackEvent.RequestFailed({ error: withAdvice(error) })), true)
    })
  )
