/** Watches the requests of a stack: whether they succeed, and whether the service still accepts its token. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Operation } from "../../StacksApi.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import { monotonicMillis } from "../monotonicMillis.ts"
import { isUnauthorized } from "./serviceErrors.ts"
import type { Settings } from "./settings.ts"

export interface ServiceMonitor {
  /** The client with all requests watched. */
  readonly client: StacksClient.Service
  /** The number of requests that have succeeded. */
  readonly successes: () => number
}

/** A refusal that is older than this and than `authGrace` is ignored, because the operation was not called since then. */
const refusalMemoryMillis = 60_000

interface Refusal {
  readonly since: number
  readonly lastAt: number
}

/**
 * Calls `failStack` when one operation has only got 401 or 403 for `authGrace`, without a success of
 * that operation in between.
 */
export const make = Effect.fnUntraced(function* (
  client: StacksClient.Service,
  settings: Settings,
  failStack: (error: StacksError) => Effect.Effect<unknown>
): Effect.fn.Return<ServiceMonitor> {
  const clock = yield* Clock.Clock
  const authGrace = Duration.toMillis(settings.authGrace)
  const memory = Math.max(authGrace, refusalMemoryMillis)
  let successes = 0
  /** The operations that are refused. */
  const refusals = new Map<Operation, Refusal>()

  const onSuccess = (operation: Operation) => {
    successes++
    if (refusals.size > 0) refusals.delete(operation)
  }

  const onFailure = (operation: Operation, error: StacksError): Effect.Effect<void> => {
    // A success that does not decode shows that the token is accepted.
    if (error._tag === "DecodeError") refusals.delete(operation)
    if (!isUnauthorized(error)) return Effect.void
    const now = monotonicMillis(clock)
    const known = refusals.get(operation)
    const since = known !== undefined && now - known.lastAt <= memory ? known.since : now
    refusals.set(operation, { since, lastAt: now })
    return now - since >= authGrace ? Effect.asVoid(failStack(error)) : Effect.void
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
