/**
 * The leader of a queue: an ordinary `Stack`, whose `JobStore` is the database. Jobs run on any process, unless the runner's agents
 * live elsewhere: then the leader creates and watches them itself, and the next leader finds them again.
 */
import * as JobRunner from "@stacksapi/core/JobRunner"
import * as JobStore from "@stacksapi/core/JobStore"
import * as RateLimit from "@stacksapi/core/RateLimit"
import * as Stack from "@stacksapi/core/Stack"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as Dispatch from "./dispatch.ts"
import { type Publish, published } from "./events.ts"
import type { FailOnDefect } from "./failOnDefect.ts"
import * as Lease from "./lease.ts"
import * as LedQueue from "./ledQueue.ts"
import type { OnProcessDeath } from "./recovery.ts"
import type { Requests } from "./requests.ts"
import type { Storage, Taken, Term } from "./storage.ts"
import type { View } from "./view.ts"

export type StackOptions = Omit<Stack.Options, "maxInFlight" | "onClose" | "onEvent">

export interface LeaderOptions {
  readonly storage: Storage
  readonly requests: Requests
  readonly lease: Lease.Lease
  readonly expiration: Duration.Duration
  readonly limiter: RateLimit.Limiter
  readonly view: View
  readonly publish: Publish
  readonly onProcessDeath: OnProcessDeath
  /** Whether the cluster has no other queue. */
  readonly isOnly: boolean
  /** Fails when the process can't go on. */
  readonly failOnDefect: FailOnDefect
  /** Whether this process leaves: then it reserves nothing more. */
  readonly isLeaving: () => boolean
  readonly failure: Deferred.Deferred<never, Stack.StartError>
  readonly readCount: () => number
  readonly readSoon: () => void
}

/** A queue that this process leads. */
export interface Led {
  readonly term: Term
  readonly options: StackOptions
  /** Whether the process may still act as its leader, if its lease holds. */
  isOpen: boolean
  /** Undefined until the stack is registered, and while it has failed. */
  stack: Stack.Service | undefined
  queue: LedQueue.LedQueue | undefined
  wanted: number
  /** The jobs whose agents this process watches itself. */
  readonly watched: Set<ScheduledJob>
}

/** How often the allocation of slots is looked at. */
const allocationInterval = "1 second"
/** When a queue that failed is tried again. */
const restartInterval = "1 minute"
/** The service counts the requests of this time, those of the last leader too. In milliseconds. */
const limitWindow = 1000

/** Leads the queue until it is interrupted. The stack then detaches: its jobs are the next leader's. */
export const lead = (deps: LeaderOptions, led: Led, taken: Taken): Effect.Effect<never, never, Services> =>
  Effect.sleep(pauseAfter(taken, deps.expiration)).pipe(
    Effect.andThen(
      runStack(deps, led).pipe(
        Effect.catch((error) => onFailure(deps, led, error)),
        Effect.forever
      )
    ),
    // Any other failure is a bug: ending the process is better than a queue without a leader.
    deps.failOnDefect
  )

type Services = StacksClient | JobRunner.JobRunner

/** How long the last leader's requests count for the rate limits. One that died sent none in the last tenth of its lease. */
const pauseAfter = ({ leaderlessMillis }: Taken, expiration: Duration.Duration): Duration.Duration =>
  Duration.millis(
    Math.max(0, limitWindow - (leaderlessMillis ?? Duration.toMillis(expiration) * (1 - Lease.usablePart)))
  )

const runStack = Effect.fnUntraced(function* (
  deps: LeaderOptions,
  led: Led
): Effect.fn.Return<never, Stack.StartError, Services | Scope.Scope> {
  const { limiter, publish, view } = deps
  const { options, term } = led
  const queue = yield* LedQueue.make({ ...deps, term })
  yield* Effect.acquireRelease(
    Effect.sync(() => (led.queue = queue)),
    () => Effect.sync(() => (led.queue = undefined))
  )
  const runner = yield* JobRunner.JobRunner
  const stack = yield* Stack.make({
    ...options,
    maxInFlight: 0,
    onEvent: (event) => Effect.sync(() => publish(event, options.queueKey)),
    onClose: "detach"
  }).pipe(
    // A process may lead several queues, and each only for a while.
    Effect.provideService(Metric.CurrentMetricAttributes, { queue: options.queueKey }),
    Effect.provideService(
      JobRunner.JobRunner,
      runner.outlivesStack === true
        ? watchingHere(runner, led, publish)
        : Dispatch.make(queue, deps.storage, deps.requests, deps.onProcessDeath)
    ),
    Effect.provideService(JobStore.JobStore, queue.store),
    RateLimit.withFallback(limiter),
    RateLimit.mapLimiter(Lease.gate(Lease.restrict(deps.lease, () => led.isOpen)))
  )
  yield* Effect.acquireRelease(
    Effect.sync(() => (led.stack = stack)),
    () => Effect.sync(() => (led.stack = undefined))
  )
  const adjust = Effect.gen(function* () {
    const { inFlight, pending } = yield* stack.status
    led.wanted = inFlight.length + pending
    yield* stack.setMaxInFlight(deps.isLeaving() ? 0 : view.allocationOf(term.stackKey, led.wanted))
  })
  yield* adjust.pipe(
    Effect.orDie,
    Effect.andThen(Effect.sleep(allocationInterval)),
    Effect.forever,
    deps.failOnDefect,
    Effect.forkScoped
  )
  return yield* stack.awaitFailure
}, Effect.scoped)

/** The runner itself, with what it does published. */
const watchingHere = (runner: JobRunner.Service, led: Led, publish: Publish): JobRunner.Service => ({
  ...runner,
  run: (context) =>
    Effect.acquireUseRelease(
      Effect.sync(() => led.watched.add(context.job)),
      () => published(publish, context.job, context.queueKey, runner.run(context)),
      () => Effect.sync(() => led.watched.delete(context.job))
    )
})

/** As in `Stacks`: one queue that fails must not stop the others. */
const onFailure = Effect.fnUntraced(function* (
  { failure, isOnly }: LeaderOptions,
  { options }: Led,
  error: Stack.StartError
) {
  if (isOnly || isUnauthorized(error)) yield* Deferred.fail(failure, error)
  yield* Effect.logError(`Queue ${options.queueKey} can't continue: ${error.message}`)
  yield* Effect.sleep(restartInterval)
})

const isUnauthorized = (error: Stack.StartError): boolean =>
  error._tag === "ErrorResponse" && error.reason._tag === "Unauthorized"
