/** The stack's registration: at the start, and again when the service has forgotten it. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { InvalidOptions, StacksError } from "../../StacksError.ts"
import { monotonicMillis } from "../monotonicMillis.ts"
import { endless, persistent, quick, readAgain, shutdownTimeout } from "./retryPolicies.ts"
import { isNotFound, isRefusal, isUnauthorized, withAdvice } from "./serviceErrors.ts"
import type { ServiceMonitor } from "./serviceMonitor.ts"
import type { Settings } from "./settings.ts"
import { checkToken } from "./tokenCheck.ts"

/** Whether the caller restarts a stack that was refused, or whose queue does not exist. Such a start fails at once. */
export const IsRestarted: Context.Reference<boolean> = Context.Reference("@stacksapi/core/internal/stack/IsRestarted", {
  defaultValue: () => false
})

export interface Registration {
  /** The number of the current registration. */
  readonly current: () => number
  /** Registers again, unless there is a newer registration than the one that the caller saw. */
  readonly renew: (seen: number) => Effect.Effect<void, StacksError>
  /** Registers again if a request gets a 404, and repeats the request once. */
  readonly withReRegister: <A>(request: Effect.Effect<A, StacksError>) => Effect.Effect<A, StacksError>
}

/** Registers the stack. Deregisters it when the scope closes, unless the stack detaches. */
export const make = Effect.fnUntraced(function* (
  monitor: ServiceMonitor,
  settings: Settings,
  emit: (event: StackEvent) => Effect.Effect<void>
): Effect.fn.Return<Registration, StacksError | InvalidOptions, Scope.Scope> {
  const { client } = monitor
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
  yield* Effect.tapError(registerFirst(request, monitor, settings, emit), () =>
    Effect.sync(() => (mayBeRegistered = false))
  )
  yield* emit(StackEvent.Registered({ stackKey, queueKey }))

  let current = 1
  const oneAtATime = yield* Semaphore.make(1)
  const renew = (seen: number): Effect.Effect<void, StacksError> =>
    oneAtATime.withPermit(
      Effect.suspend(() =>
        current === seen
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
    renew,
    withReRegister: (request) =>
      Effect.suspend(() => {
        const seen = current
        return Effect.catchIf(request, isNotFound, () => Effect.andThen(renew(seen), request))
      })
  }
})

const register = (
  client: StacksClient.Service,
  { key, metadata, queueKey, type }: Settings
): Effect.Effect<void, StacksError> => Effect.asVoid(client.registerStack({ key, type, queueKey, metadata }))

/**
 * Registers for the first time, and retries without a time limit while the service fails. Only a refusal ends the start: at once if the
 * service refuses the request's content, and after `authGrace` if it refuses the token or does not know the queue.
 */
const registerFirst = Effect.fnUntraced(function* (
  request: Effect.Effect<void, StacksError>,
  monitor: ServiceMonitor,
  { authGrace }: Settings,
  emit: (event: StackEvent) => Effect.Effect<void>
): Effect.fn.Return<void, StacksError> {
  const clock = yield* Clock.Clock
  const isRestarted = yield* IsRestarted
  /** Since when every response has been 404. */
  let notFoundSince: number | undefined
  const isFinal = (error: StacksError): boolean => {
    if (isUnauthorized(error)) return isRestarted || monitor.hasGivenUp()
    if (!isNotFound(error)) {
      notFoundSince = undefined
      return isRefusal(error)
    }
    const now = monotonicMillis(clock)
    notFoundSince ??= now
    return isRestarted || now - notFoundSince >= Duration.toMillis(authGrace)
  }
  yield* request.pipe(
    RetryPolicy.withPolicy(RetryPolicy.none),
    Effect.retry({
      schedule: endless,
      while: (error) =>
        isFinal(error)
          ? Effect.succeed(false)
          : Effect.as(emit(StackEvent.RequestFailed({ error: withAdvice(error) })), true)
    })
  )
})
