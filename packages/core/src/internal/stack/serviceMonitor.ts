/** Watches the requests of a stack: whether the service answers at all, and whether it still lets the stack in. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Operation } from "../../StacksApi.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import { isUnauthorized } from "./serviceErrors.ts"
import type { Settings } from "./settings.ts"

export interface ServiceMonitor {
  /** The client, every request of it watched. */
  readonly client: StacksClient.Service
  /** How many requests have succeeded. */
  readonly successes: () => number
}

/**
 * Calls `giveUp` when the service has answered 401 or 403 to one operation for `authGrace`, without a success of that operation in
 * between.
 */
export const make = Effect.fnUntraced(function* (
  client: StacksClient.Service,
  { authGrace }: Settings,
  giveUp: (error: StacksError) => Effect.Effect<unknown>
): Effect.fn.Return<ServiceMonitor, never, Scope.Scope> {
  const scope = yield* Effect.scope
  let successes = 0
  /** Operations that are refused, each with the last answer. */
  const refused = new Map<Operation, { error: StacksError; refusals: number; isDue: boolean }>()

  const onSuccess = (operation: Operation) => {
    successes++
    if (refused.size > 0) refused.delete(operation)
  }

  const onFailure = (operation: Operation, error: StacksError): Effect.Effect<void> => {
    if (!isUnauthorized(error)) return Effect.void
    const known = refused.get(operation)
    if (known !== undefined) {
      known.error = error
      known.refusals++
      return known.isDue ? Effect.asVoid(giveUp(error)) : Effect.void
    }
    const refusal = { error, refusals: 1, isDue: false }
    refused.set(operation, refusal)
    const ifStillRefused = Effect.suspend(() => {
      if (refused.get(operation) !== refusal) return Effect.void
      // One refusal long ago says nothing about now: the next one decides.
      refusal.isDue = true
      return refusal.refusals > 1 ? giveUp(refusal.error) : Effect.void
    })
    return Effect.asVoid(Effect.forkIn(Effect.delay(ifStillRefused, authGrace), scope, { startImmediately: true }))
  }

  const watched =
    <Input, A>(operation: Operation, method: (input: Input) => Effect.Effect<A, StacksError>) =>
    (input: Input): Effect.Effect<A, StacksError> =>
      Effect.matchEffect(method(input), {
        onSuccess: (value) => {
          onSuccess(operation)
          return Effect.succeed(value)
        },
        onFailure: (error) => Effect.andThen(onFailure(operation, error), Effect.fail(error))
      })

  return {
    client: {
      ...client,
      registerStack: watched("registerStack", client.registerStack),
      listScheduledJobs: watched("listScheduledJobs", client.listScheduledJobs),
      batchReserveJobs: watched("batchReserveJobs", client.batchReserveJobs),
      getJob: watched("getJob", client.getJob),
      getJobStates: watched("getJobStates", client.getJobStates),
      finishJob: watched("finishJob", client.finishJob),
      createStackNotifications: watched("createStackNotifications", client.createStackNotifications),
      issueJobAcquisitionTokens: watched("issueJobAcquisitionTokens", client.issueJobAcquisitionTokens)
    },
    successes: () => successes
  }
})
