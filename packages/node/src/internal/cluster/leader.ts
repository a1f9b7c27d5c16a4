/** The leader of a queue: polls, reserves, dispatches and finishes for all members of the cluster. */
import { randomUUID } from "node:crypto"
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as JobStore from "@stacksapi/core/JobStore"
import * as RateLimit from "@stacksapi/core/RateLimit"
import * as Stack from "@stacksapi/core/Stack"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import type { CursorStalled } from "@stacksapi/core/StacksError"
import * as Cause from "effect/Cause"
import type { Sharding } from "effect/cluster/Sharding"
import * as Singleton from "effect/cluster/Singleton"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Database } from "./database.ts"
import * as Dispatcher from "./dispatcher.ts"
import type { Publish } from "./events.ts"
import { queueGroup } from "./jobEntity.ts"
import * as ClusterJobStore from "./jobStore.ts"
import * as Lease from "./lease.ts"
import type { RestoreLogs } from "./logs.ts"
import type { MemberTable } from "./memberTable.ts"
import type { Ownership } from "./ownership.ts"
import type { Queues } from "./queues.ts"

export interface LeaderOptions {
  readonly database: Database
  readonly ownership: Ownership
  readonly queues: Queues
  readonly expiration: Duration.Duration
  /** The limiter of the process. */
  readonly limiter: RateLimit.Limiter
  readonly members: MemberTable
  readonly publish: Publish
  readonly restoreLogs: RestoreLogs
  readonly stack: Omit<Stack.Options, "maxInFlight" | "onClose" | "onEvent">
  /** The stacks that this process leads, by key. */
  readonly leading: Map<string, Stack.Service>
  /** Whether the cluster has no other queue. */
  readonly isOnly: boolean
  readonly failure: Deferred.Deferred<never, Stack.StartError | CursorStalled>
}

/** How often the leader renews its lease and updates its allocation of slots. */
const interval = "1 second"
/** How often a process that may become the leader tries to get the lease. */
const retryPeriod = "250 millis"
/** When a queue that failed is tried again. */
const restartInterval = "1 minute"

/** Leads the queue until another process does, or the stack fails. */
const lead = Effect.fnUntraced(function* ({
  ownership,
  database,
  expiration,
  leading,
  limiter,
  members,
  queues,
  stack: options,
  publish
}: LeaderOptions): Effect.fn.Return<void, Stack.StartError | CursorStalled, StacksClient | Sharding | Scope.Scope> {
  const { key: stackKey } = options
  const leader = randomUUID()
  const lease = yield* Lease.make(expiration)
  const isLost = yield* Deferred.make<void>()
  let wanted = 0
  const renew = Effect.suspend(() => lease.renew(queues.lead({ stackKey, wanted }, leader)))

  // The cluster has assigned the queue to this process. A previous leader that is partitioned may not know that yet.
  yield* Effect.addFinalizer(() => queues.resign(stackKey, leader))
  yield* Effect.repeat(Effect.uninterruptible(renew), {
    schedule: Schedule.spaced(retryPeriod),
    until: (isGranted) => isGranted === true
  })
  yield* renew.pipe(
    Effect.tap((isGranted) => (isGranted === false ? Deferred.succeed(isLost, undefined) : Effect.void)),
    Effect.delay(interval),
    Effect.forever,
    Effect.forkScoped
  )

  const work = Effect.gen(function* () {
    // The previous leader's requests of its last second still count for the rate limits.
    yield* Effect.sleep("1 second")
    const stack = yield* Stack.make({
      ...options,
      maxInFlight: 0,
      onEvent: (event) => Effect.sync(() => publish(event, options.queueKey)),
      onClose: "detach"
    }).pipe(
      // A process may lead several queues, and each only for a while.
      Effect.provideService(Metric.CurrentMetricAttributes, { queue: options.queueKey }),
      Effect.provideService(JobRunner.JobRunner, yield* Dispatcher.make(ownership, members)),
      Effect.provideService(JobStore.JobStore, yield* ClusterJobStore.make(database, stackKey, leader)),
      RateLimit.withFallback(limiter),
      RateLimit.mapLimiter(Lease.gate(lease))
    )
    yield* Effect.acquireRelease(
      Effect.sync(() => leading.set(stackKey, stack)),
      () => Effect.sync(() => leading.delete(stackKey))
    )
    const adjust = Effect.gen(function* () {
      const { inFlight, pending } = yield* stack.status
      wanted = inFlight.length + pending
      yield* stack.setMaxInFlight(members.allocationOf({ stackKey, wanted }))
    })
    yield* adjust.pipe(Effect.andThen(Effect.sleep(interval)), Effect.forever, Effect.forkScoped)
    return yield* stack.awaitFailure
  })
  yield* Effect.raceFirst(work, Deferred.await(isLost))
}, Effect.scoped)

/** Leads the queue whenever the cluster assigns it to this process. */
export const layer = (options: LeaderOptions, name: string) => {
  const { failure, isOnly, restoreLogs, stack } = options
  // As in `Stacks`: one queue that fails must not stop the others.
  const onFailure = Effect.fnUntraced(function* (error: Stack.StartError | CursorStalled) {
    if (isOnly || isUnauthorized(error)) yield* Deferred.fail(failure, error)
    yield* Effect.logError(`Queue ${stack.queueKey} can't continue: ${error.message}`)
    yield* Effect.sleep(restartInterval)
  })
  return Singleton.make(
    name,
    lead(options).pipe(
      Effect.catch(onFailure),
      Effect.forever,
      // Any other failure is a bug: ending the process is better than a queue without a leader.
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Deferred.failCause(failure, cause)
      ),
      Effect.asVoid,
      restoreLogs
    ),
    { shardGroup: queueGroup }
  )
}

const isUnauthorized = (error: Stack.StartError | CursorStalled): boolean =>
  error._tag === "ErrorResponse" && error.reason._tag === "Unauthorized"
