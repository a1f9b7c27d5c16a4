/** What the one process does that leads a queue: it polls, reserves, hands out and finishes, for all of them. */
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
import type { Book } from "./book.ts"
import type { Database } from "./database.ts"
import * as Dispatcher from "./dispatcher.ts"
import { queueGroup } from "./jobEntity.ts"
import * as ClusterJobStore from "./jobStore.ts"
import type { Tell } from "./journal.ts"
import * as Lease from "./lease.ts"
import type { Outspoken } from "./logs.ts"
import type { Processes } from "./processes.ts"
import type { Queues } from "./queues.ts"

export interface LeaderOptions {
  readonly database: Database
  readonly book: Book
  readonly queues: Queues
  readonly expiration: Duration.Duration
  /** That of the process. */
  readonly limiter: RateLimit.Limiter
  readonly processes: Processes
  readonly tell: Tell
  readonly outspoken: Outspoken
  readonly stack: Omit<Stack.Options, "maxInFlight" | "ledger" | "onClose" | "onEvent">
  /** The stacks that this process leads. */
  readonly leading: Map<string, Stack.Service>
  /** Whether the cluster has no other queue. */
  readonly isOnly: boolean
  readonly failure: Deferred.Deferred<never, Stack.StartError | CursorStalled>
}

/** How often the lead is kept, and the slots are shared anew. */
const interval = "1 second"
/** How often somebody looks who may lead next. */
const eagerness = "250 millis"
/** When a queue that could not go on is tried again. */
const retryInterval = "1 minute"

/** Leads once, until somebody else does, or the stack can't go on. */
const lead = Effect.fnUntraced(function* ({
  book,
  database,
  expiration,
  leading,
  limiter,
  processes,
  queues,
  stack: options,
  tell
}: LeaderOptions): Effect.fn.Return<void, Stack.StartError | CursorStalled, StacksClient | Sharding | Scope.Scope> {
  const { key: stackKey } = options
  const leader = randomUUID()
  const lease = yield* Lease.make(expiration)
  const isLost = yield* Deferred.make<void>()
  let wanted = 0
  const keep = Effect.suspend(() => lease.renew(queues.lead({ stackKey, wanted }, leader)))

  // The cluster has given it to this process. A former leader that is cut off may not know that yet.
  yield* Effect.addFinalizer(() => queues.resign(stackKey, leader))
  yield* Effect.repeat(Effect.uninterruptible(keep), {
    schedule: Schedule.spaced(eagerness),
    until: (isGiven) => isGiven === true
  })
  yield* keep.pipe(
    Effect.tap((isGiven) => (isGiven === false ? Deferred.succeed(isLost, undefined) : Effect.void)),
    Effect.delay(interval),
    Effect.forever,
    Effect.forkScoped
  )

  const work = Effect.gen(function* () {
    // What the former leader asked for in its last second still counts.
    yield* Effect.sleep("1 second")
    const stack = yield* Stack.make({
      ...options,
      maxInFlight: 0,
      onEvent: (event) => Effect.sync(() => tell(event, options.queueKey)),
      onClose: "detach"
    }).pipe(
      // A process leads several queues, and each for a while.
      Effect.provideService(Metric.CurrentMetricAttributes, { queue: options.queueKey }),
      Effect.provideService(JobRunner.JobRunner, yield* Dispatcher.make(book, processes)),
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
      yield* stack.setMaxInFlight(processes.shareOf({ stackKey, wanted }))
    })
    yield* adjust.pipe(Effect.andThen(Effect.sleep(interval)), Effect.forever, Effect.forkScoped)
    return yield* stack.awaitFailure
  })
  yield* Effect.raceFirst(work, Deferred.await(isLost))
}, Effect.scoped)

/** Leads whenever the cluster gives the queue to this process. */
export const layer = (options: LeaderOptions, name: string) => {
  const { failure, isOnly, outspoken, stack } = options
  // As `Stacks` does: one queue that is gone is no reason for the others to stand still.
  const onFailure = Effect.fnUntraced(function* (error: Stack.StartError | CursorStalled) {
    if (isOnly || isUnauthorized(error)) yield* Deferred.fail(failure, error)
    yield* Effect.logError(`Queue ${stack.queueKey} can't go on: ${error.message}`)
    yield* Effect.sleep(retryInterval)
  })
  return Singleton.make(
    name,
    lead(options).pipe(
      Effect.catch(onFailure),
      Effect.forever,
      // What fails otherwise is a mistake of ours: better the process ends than that a queue stands still.
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Deferred.failCause(failure, cause)
      ),
      Effect.asVoid,
      outspoken
    ),
    { shardGroup: queueGroup }
  )
}

const isUnauthorized = (error: Stack.StartError | CursorStalled): boolean =>
  error._tag === "ErrorResponse" && error.reason._tag === "Unauthorized"
