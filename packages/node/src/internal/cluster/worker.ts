/**
 * The worker of a process: claims jobs, within its slots, and runs them.
 *
 *     claim ──> run ──> ended ──> write the outcome
 *                │                       ^
 *                └── stop: canceled, lost, lapsed, leaving ── (no outcome: orphaned)
 *
 * An execution outlives the membership in which its job was claimed: an agent that has acquired the job goes on.
 */
import * as JobRunner from "@stacksapi/core/JobRunner"
import type * as RateLimit from "@stacksapi/core/RateLimit"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import { isAgentOwned, type JobState, type ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Claims from "./claims.ts"
import { type Publish, published } from "./events.ts"
import { type Execution, Executions, requestStop } from "./executions.ts"
import type { FailOnDefect } from "./failOnDefect.ts"
import * as JobContexts from "./jobContext.ts"
import type { Membership } from "./membership.ts"
import { type FailedRequest, failedWith, type Outcome } from "./outcome.ts"
import { hasAgentOrIsOver } from "./recovery.ts"
import * as Reports from "./reports.ts"
import type { Requests } from "./requests.ts"
import type { ClaimedJob, Snapshot, Storage } from "./storage.ts"
import type { View } from "./view.ts"

export interface WorkerOptions {
  readonly storage: Storage
  readonly requests: Requests
  readonly failOnDefect: FailOnDefect
  readonly membership: Pick<Membership, "id" | "lease">
  readonly view: View
  readonly limiter: RateLimit.Limiter
  readonly slots: number
  readonly stacks: ReadonlyArray<{ readonly key: string; readonly queueKey: string }>
  readonly tokenLifetime: Duration.Input | undefined
  readonly publish: Publish
  /** The sequence number of the last snapshot request that was sent. */
  readonly lastSnapshot: () => number
}

export interface Worker {
  readonly free: () => number
  /** The jobs whose runners are at work. */
  readonly running: () => ReadonlyArray<ScheduledJob>
  readonly claims: Claims.Claims
  /** Compares what runs here with what the database says that this process owns, as of snapshot number `snapshotNumber`. */
  readonly reconcile: (
    memberId: number,
    snapshot: Pick<Snapshot, "owned">,
    snapshotNumber: number
  ) => Effect.Effect<void>
  /** Stops all jobs, because the lease has expired: other processes may take them. */
  readonly onLeaseExpired: () => void
  /** The member was removed. This process no longer owns the jobs that it claimed as that member. */
  readonly onMemberRemoved: (memberId: number) => void
  /** Claims nothing more, lets the jobs end within the time, and interrupts the rest. */
  readonly drain: (grace: Duration.Duration) => Effect.Effect<void>
  /** Waits until all outcomes are written, and returns the jobs of claims whose responses were lost. */
  readonly flush: Effect.Effect<void>
}

/** How long to wait for the state of a job that may have an agent. */
const stateTimeout = "2 seconds"
/** Milliseconds between reads of a job's state, for a job that this process no longer owns and that an agent runs. */
const stateInterval = 5000
/** How long runners may take to end when they are interrupted. By default, a command that ignores its signal is killed after this time. */
const interruptTimeout = "10 seconds"
const retryInterval = "100 millis"

/** Whether an agent runs the job and need not stop, or has finished it. */
const isLeftToAgent = (state: JobState): boolean =>
  state === "finished" || (isAgentOwned(state) && state !== "canceling" && state !== "timing_out")

/** What a runner did, as an outcome. */
const toOutcome = (
  run: Effect.Effect<JobRunner.JobOutcome, JobRunner.JobRunnerError>,
  failedRequestOf: (error: unknown) => FailedRequest
): Effect.Effect<Outcome> =>
  Effect.match(run, {
    onFailure: (error): Outcome => ({
      _tag: "Failed",
      message: String(error.message),
      isRetryable: error.isRetryable === true,
      waitsForCapacity: error.waitsForCapacity === true,
      failedRequest: failedRequestOf(error)
    }),
    // The database would refuse a malformed outcome.
    onSuccess: (outcome): Outcome => JobRunner.sendable(outcome)
  })

/** What the functions below share. */
interface State {
  readonly options: WorkerOptions
  readonly runner: JobRunner.Service
  readonly contexts: JobContexts.JobContexts
  readonly executions: Executions
  readonly reports: Reports.Reports
  readonly queueKeyOf: (stackKey: string) => string
}

export const make = Effect.fnUntraced(function* (
  options: WorkerOptions
): Effect.fn.Return<Worker, never, StacksClient | JobRunner.JobRunner | Scope.Scope> {
  const { failOnDefect, lastSnapshot, membership, requests, slots, stacks, storage, view } = options
  // The contexts of jobs, and the fibers that stop jobs, belong to this scope. It is created first, so it closes after the parts that are made below.
  const scope = yield* Scope.fork(yield* Effect.scope)
  const executions = new Executions()
  const free = () => slots - executions.active.length
  const queueKeys = new Map(stacks.map(({ key, queueKey }) => [key, queueKey]))
  const queueKeyOf = (stackKey: string) => queueKeys.get(stackKey) ?? stackKey
  const state: State = {
    options,
    runner: yield* JobRunner.JobRunner,
    contexts: yield* Scope.provide(JobContexts.make({ ...options, lease: membership.lease, queueKeyOf }), scope),
    executions,
    reports: yield* Reports.make({
      storage,
      requests,
      failOnDefect,
      membership,
      lastSnapshot,
      forget: (execution) => executions.forget(execution),
      onReady: () => claims.poll()
    }),
    queueKeyOf
  }
  const claims = yield* Claims.make({
    storage,
    requests,
    failOnDefect,
    membership,
    stackKeys: Array.from(queueKeys.keys()),
    free,
    shareOf: (memberId, free) => view.shareOf(memberId, free),
    start: (memberId, claimed) => start(state, memberId, claimed)
  })
  const stopAll = (executions: ReadonlyArray<Execution>) => {
    // In the background: stopping may take a while.
    for (const execution of executions)
      Effect.runForkWith(services)(Effect.forkIn(failOnDefect(stop(state, execution)), scope))
  }
  const services = yield* Effect.context<never>()
  return {
    free,
    running: () => executions.active.flatMap(({ isRunning, job }) => (isRunning ? [job] : [])),
    claims,
    reconcile: Effect.fnUntraced(function* (memberId, { owned }, snapshotNumber) {
      const { lost, stopping } = executions.compare(memberId, owned, snapshotNumber)
      for (const execution of lost) execution.isOwned = false
      stopAll(lost)
      for (const [execution, reason] of stopping) yield* requestStop(execution, reason)
      const unknownJobs = executions.unknownJobs(owned, claims.counts())
      if (unknownJobs.length > 0) yield* requests.promptly(storage.giveBack(memberId, unknownJobs))
    }),
    onLeaseExpired: () => stopAll(executions.active),
    onMemberRemoved: (memberId) => {
      const lost = executions.onMemberRemoved(memberId)
      for (const execution of lost) execution.isOwned = false
      stopAll(lost)
    },
    drain: Effect.fnUntraced(function* (grace) {
      claims.close()
      const { active } = executions
      for (const execution of active) yield* requestStop(execution, "Shutdown")
      const fibers = active.map(({ fiber }) => fiber)
      yield* Effect.timeoutOption(Fiber.awaitAll(fibers), grace)
      yield* Effect.timeoutOption(Fiber.interruptAll(fibers), interruptTimeout)
    }),
    flush: Effect.andThen(state.reports.flush, giveBackUnknownJobs(state, claims))
  }
})

/**
 * Gives back jobs of claims whose responses were lost, until this process knows every job that the database says it owns. Stops when the
 * lease ends, because this process then owns no jobs.
 */
const giveBackUnknownJobs = ({ executions, options }: State, claims: Claims.Claims): Effect.Effect<void> => {
  const { membership, requests, storage } = options
  return Effect.gen(function* () {
    yield* claims.idle
    for (let memberId = membership.id(); memberId !== undefined && membership.lease.isHeld(); ) {
      const snapshot = yield* requests.promptly(storage.snapshot(memberId))
      const unknownJobs = snapshot === undefined ? [] : executions.unknownJobs(snapshot.owned, claims.counts())
      if (snapshot !== undefined && unknownJobs.length === 0) return
      if (unknownJobs.length > 0) yield* requests.promptly(storage.giveBack(memberId, unknownJobs))
      yield* Effect.sleep(retryInterval)
      memberId = membership.id()
    }
  })
}

// -----------------------------------------------------------------------------
// Executions
// -----------------------------------------------------------------------------

const start = Effect.fnUntraced(function* (state: State, memberId: number, claimed: ClaimedJob) {
  const { executions, options, reports } = state
  const execution: Execution = {
    ...claimed,
    memberId,
    // The fiber starts after `executions.add`, because forks start asynchronously. It is detached: a runner that ignores its interruption
    // must not keep the process from ending.
    fiber: yield* Effect.forkDetach(
      Effect.suspend(() => execute(state, execution)).pipe(
        Effect.catchCause((cause) =>
          Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.succeed(failedWith(cause))
        ),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            execution.hasEnded = true
            reports.add(execution, Exit.isSuccess(exit) ? exit.value : undefined)
          })
        )
      )
    ),
    stopRequested: Deferred.makeUnsafe(),
    stopReason: undefined,
    claimedAtSnapshot: options.lastSnapshot(),
    isOwned: true,
    isRunning: false,
    hasAgent: false,
    hasEnded: false,
    writtenAtSnapshot: undefined,
    checkedAt: undefined
  }
  executions.add(execution)
})

const execute = Effect.fnUntraced(function* (state: State, execution: Execution): Effect.fn.Return<Outcome> {
  const { contexts, executions, options } = state
  // An earlier execution on this process may take a while to end, and an agent may have acquired the job meanwhile.
  const others = executions.others(execution)
  if (others.length > 0) {
    yield* Effect.forEach(others, ({ fiber }) => Fiber.await(fiber), { discard: true })
    if (yield* hasAgentOrIsOver(execution.job.id, contexts.stateOf(execution))) return { _tag: "AgentOwned" }
    yield* options.membership.lease.awaitHeld
  }
  return yield* run(state, execution)
})

const run = ({ contexts, options, queueKeyOf, runner }: State, execution: Execution): Effect.Effect<Outcome> =>
  Effect.flatMap(contexts.make(execution), ({ context, failedRequestOf }) => {
    execution.isRunning = true
    const outcome = toOutcome(
      Effect.suspend(() => runner.run(context)),
      failedRequestOf
    )
    return published(options.publish, execution.job, queueKeyOf(execution.stackKey), outcome)
  }).pipe(
    Effect.ensuring(
      Effect.suspend(() => {
        execution.isRunning = false
        return contexts.release(execution)
      })
    )
  )

/** Stops an execution whose job this process may no longer own. An agent that has acquired the job goes on. */
const stop = Effect.fnUntraced(function* ({ contexts }: State, execution: Execution) {
  if (execution.hasAgent) {
    const now = yield* Clock.currentTimeMillis
    if (execution.checkedAt !== undefined && execution.checkedAt + stateInterval > now) return
    execution.checkedAt = now
    const state = yield* Effect.catch(Effect.timeout(contexts.stateOf(execution), stateTimeout), () =>
      Effect.succeed(undefined)
    )
    // An unknown state does not stop an agent either: the service lets only one agent acquire a job.
    if (state === undefined || isLeftToAgent(state)) return
  }
  yield* requestStop(execution, "ReservationLost")
  yield* Fiber.interrupt(execution.fiber)
})
