/** Starts reserved jobs, runs them, and decides what happens to them when their runners end. */
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import type * as JobRunner from "../../JobRunner.ts"
import { StackEvent } from "../../StackEvent.ts"
import { isAgentOwned, type JobState, type ScheduledJob } from "../../StacksSchema.ts"
import { sendableOutcome, stackError } from "../runnerOutcome.ts"
import { finish, finishLater, toSaved, waitWithoutSlot } from "./finish.ts"
import * as Backoff from "./jobBackoff.ts"
import { makeJobContext, type ServiceTrouble } from "./jobContext.ts"
import type { JobRecord, Run } from "./jobTable.ts"
import { release } from "./release.ts"
import { classify } from "./runFailure.ts"
import { settle } from "./settle.ts"
import { inJobSpan } from "./spans.ts"
import type { StackState } from "./stackState.ts"
import { wakeIn } from "./wakeIn.ts"
import { endOf, stopReasonOf } from "./watch.ts"

/** Milliseconds. If a reservation was last confirmed longer ago than this, the job's state is read: the job may have been canceled since. */
const confirmationMaxAge = 30_000
/** After this many consecutive failures to get a job's details or token, the job is treated as the cause. */
const maxServiceFailures = 3
/**
 * How many more times the stack reads the state of an `AgentOwned` job if the response lacks it. After that it assumes that the service
 * no longer knows the job.
 */
const maxMissingStates = 3
/** A runner that has run for this long counts as a successful start. */
const startedAfter = "30 seconds"

// -----------------------------------------------------------------------------
// Which jobs to start
// -----------------------------------------------------------------------------

/** Starts waiting jobs, as many as there are slots. */
export const startWaiting = (state: StackState): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (state.table.count("Reserved", "BackingOff") === 0) return Effect.void
    const now = state.now()
    const due = state.table
      .in("Reserved", "BackingOff")
      .filter((record) => record.stage === "Reserved" || record.startAt <= now)
    return Effect.forEach(due, (record) => startIfPossible(state, record), { discard: true })
  })

/** Starts a reserved job, unless it must wait. */
export const startIfPossible = (state: StackState, record: JobRecord): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!takeSlot(state, record)) return Effect.void
    if (!mayHaveLapsed(state, record)) return launch(state, record)
    reserveAgain(state, record)
    return Effect.void
  })

/** Whether the service last confirmed the job's reservation too long ago. */
const isConfirmationStale = (state: StackState, { confirmedAt }: JobRecord): boolean =>
  confirmedAt + confirmationMaxAge < state.now()

/** Whether the reservation may have lapsed during an outage. */
const mayHaveLapsed = (state: StackState, { confirmedAt }: JobRecord): boolean =>
  confirmedAt + Duration.toMillis(state.dependencies.settings.reservationExpiry) <= state.now()

/** Reserves the job again before it starts. */
const reserveAgain = (state: StackState, record: JobRecord): void => {
  state.table.move(record, "ReservingAgain")
  record.keepsSlot = true
  record.retryAt = state.now()
  state.wake()
}

/** Whether a job may start now. Takes a slot if none is kept for it. */
const takeSlot = (state: StackState, record: JobRecord): boolean => {
  const { breaker } = state.dependencies
  if (!state.mayStart()) return false
  const hasAgent = hasEarlierAgent(state, record)
  // The job already holds its slot and its amounts.
  if (hasAgent === true) return true
  if (hasAgent === undefined || state.freeSlots() <= 0) return false
  if (record.keepsSlot && (isPoolOverdrawn(state) || state.poolMembership.room().isOverdrawn(record.requests))) {
    // The pool has become smaller, so a waiting job gives its slot back and waits for another one.
    record.keepsSlot = false
    state.poolMembership.update()
  }
  if (breaker.isSuspended() && breaker.allowance(state.table.count("Starting") > 0) <= 0) return false
  if (record.keepsSlot) return true
  const hasRoom = state.room() > 0 && state.poolMembership.room().fits(record.job.id, record.requests)
  return hasRoom && state.poolMembership.take(1) > 0
}

/** Whether a job of an earlier process has an agent; undefined while the runner does not know. */
const hasEarlierAgent = (state: StackState, record: JobRecord): boolean | undefined => {
  const { runner, settings } = state.dependencies
  return record.isRecovered && runner.hasAgent !== undefined ? runner.hasAgent(record.job.id, settings.key) : false
}

const isPoolOverdrawn = (state: StackState): boolean => (state.dependencies.settings.pool?.free() ?? 0) < 0

/** Gives a reserved job its slot, and starts it in a separate fiber. `isStateFresh`: its state was just read. */
export const launch = (state: StackState, record: JobRecord, isStateFresh = false): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { breaker, settings } = state.dependencies
    const { job } = record
    const hasWaited = !isStateFresh && (record.failures > 0 || record.isRecovered || isConfirmationStale(state, record))
    // Without yielding, so that no other fiber sees the slot as free.
    state.table.move(record, "Starting")
    record.keepsSlot = true
    state.poolMembership.update()
    breaker.starting(job.id)
    const execution = runJob(state, record, hasWaited).pipe(
      // A run does not fail. A defect is a bug of this library, and must not keep the job reserved.
      Effect.catchCause((cause) => onDefect(state, record, cause)),
      Effect.ensuring(Effect.sync(() => breaker.ended(job.id))),
      inJobSpan(job, settings.key, record.reserveSpan)
    )
    return Effect.map(Effect.forkDetach(execution), (fiber) => {
      record.fiber = fiber
      fiber.addObserver(() => state.wake())
    })
  })

const onDefect = (state: StackState, record: JobRecord, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  if (Cause.hasInterruptsOnly(cause) || state.table.get(record.job.id) !== record) return Effect.void
  const hasRun = record.stage === "Running" || record.stage === "Stopping"
  return Effect.andThen(
    Effect.logError(`The stack failed to handle job ${record.job.id}`, cause),
    // The job may have run, so it must not run again.
    hasRun
      ? finish(state, record, stackError("The stack failed to handle the runner's outcome"))
      : settle(state, record, StackEvent.ReservationLost({ job: record.job }))
  )
}

// -----------------------------------------------------------------------------
// A run
// -----------------------------------------------------------------------------

const runJob = Effect.fnUntraced(function* (state: StackState, record: JobRecord, hasWaited: boolean) {
  if (hasWaited && !(yield* mayRun(state, record))) return
  // The queue may have been paused since the job got its slot. A job that belongs to an agent continues.
  if (record.isRenewed && !state.mayStart()) return state.table.move(record, "Reserved")
  const { emit, runner } = state.dependencies
  const run: Run = {
    stopRequested: Deferred.makeUnsafe(),
    endRun: Deferred.makeUnsafe(),
    stopReason: undefined,
    stopState: undefined,
    hasAgent: !record.isRenewed
  }
  record.run = run
  state.table.move(record, "Running")
  yield* emit(StackEvent.Started({ job: record.job, sinceScheduled: sinceScheduled(state, record.job) }))
  const { context, trouble } = makeJobContext(state, record, run)
  const exit = yield* runUntilStopped(state, record, run, runner.run, context)
  yield* onRunEnd(state, record, run, exit, trouble)
})

/** Reads the state of a job that has waited. It may have been canceled, or the queue paused. */
const mayRun = Effect.fnUntraced(function* (state: StackState, record: JobRecord) {
  const { runner, states } = state.dependencies
  const answer = yield* states.askBriefly(record.job.id)
  if (Option.isNone(answer)) {
    record.isOffender = true
    yield* backOff(state, record, "its state can't be read")
    return false
  }
  const jobState = answer.value
  const hasAgent = jobState !== undefined && isAgentOwned(jobState) && stopReasonOf(jobState) === undefined
  // The runner will find the agent that an earlier start has left.
  if (hasAgent && runner.outlivesStack === true) return true
  const event = endOf(record.job, jobState)
  if (event !== undefined) {
    yield* settle(state, record, event)
    return false
  }
  // If the service does not know the job, the job was possibly deleted. The next reserve request then shows it by a refusal.
  const isUnknown = jobState === undefined && isConfirmationStale(state, record)
  if (jobState === "scheduled" || isUnknown || mayHaveLapsed(state, record)) {
    reserveAgain(state, record)
    return false
  }
  if (state.mayStart()) return true
  state.table.move(record, "Reserved")
  return false
})

const sinceScheduled = (state: StackState, { runnableAt, scheduledAt }: ScheduledJob): Duration.Duration => {
  const startableAt = Math.max(DateTime.toEpochMillis(scheduledAt), DateTime.toEpochMillis(runnableAt ?? scheduledAt))
  return Duration.millis(Math.max(0, state.serviceNow() - startableAt))
}

const runUntilStopped = Effect.fnUntraced(function* (
  state: StackState,
  record: JobRecord,
  run: Run,
  runner: JobRunner.Service["run"],
  context: JobRunner.JobContext
): Effect.fn.Return<Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError>> {
  const { breaker } = state.dependencies
  // In a separate fiber, so that a runner that interrupts itself ends only itself.
  const running = yield* Effect.forkChild(
    Effect.suspend(() => runner(context)),
    { startImmediately: true }
  )
  running.addObserver(() => Deferred.doneUnsafe(run.endRun, Exit.void))
  const over = Deferred.await(run.endRun)
  yield* breaker.hasFailures()
    ? Effect.raceFirst(over, Effect.andThen(Effect.delay(breaker.succeeded(record.job.id), startedAfter), Effect.never))
    : over
  const exit = running.pollUnsafe()
  if (exit !== undefined) return exit
  yield* Fiber.interrupt(running)
  return yield* Fiber.await(running)
})

// -----------------------------------------------------------------------------
// What happens to the job after the run
// -----------------------------------------------------------------------------

const onRunEnd = Effect.fnUntraced(function* (
  state: StackState,
  record: JobRecord,
  run: Run,
  exit: Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError>,
  trouble: ServiceTrouble
) {
  const { job } = record
  switch (run.stopReason) {
    case "Canceled":
    case "TimedOut":
      return yield* settle(state, record, StackEvent.Canceled({ job, state: run.stopState ?? "canceled" }))
    case "ReservationLost":
      return yield* settle(state, record, StackEvent.ReservationLost({ job }))
    case "Detach":
      // The next process continues with the job, and sends an outcome that arrived in the meantime.
      return Exit.isSuccess(exit) && Predicate.isTagged(exit.value, "Finished")
        ? yield* finish(state, record, toSaved(exit.value))
        : undefined
    default:
  }
  if (Exit.isSuccess(exit)) {
    if (state.dependencies.breaker.hasFailures()) yield* state.dependencies.breaker.succeeded(job.id)
    return yield* onOutcome(state, record, exit.value)
  }
  if (run.stopReason === "Shutdown" && Cause.hasInterruptsOnly(exit.cause)) {
    return yield* failUnlessOwned(state, record, "The stack shut down before the job had ended")
  }
  return yield* onRunFailure(state, record, exit.cause, trouble)
})

const onOutcome = (state: StackState, record: JobRecord, outcome: JobRunner.JobOutcome): Effect.Effect<void> => {
  const sendable = sendableOutcome(outcome)
  switch (sendable._tag) {
    case "AgentOwned":
      return confirmOwnership(state, record)
    case "Finished":
      return finish(state, record, toSaved(sendable))
    case "Released":
      return release(state, [record], sendable.reason)
  }
}

/** Checks that an agent has the job. If the job is still reserved, the agent died before it acquired the job. */
const confirmOwnership = Effect.fnUntraced(function* (state: StackState, record: JobRecord): Effect.fn.Return<void> {
  const { settings, states } = state.dependencies
  const { job } = record
  const answer = yield* states.askBriefly(job.id)
  const notAcquired = stackError("The agent ended without acquiring the job")
  // If an agent had the job and the service no longer knows it, the job is over.
  if (Option.isSome(answer) && (answer.value !== undefined || record.run?.hasAgent === true)) {
    return answer.value === "reserved"
      ? yield* finish(state, record, notAcquired)
      : yield* settle(state, record, ownershipOf(job, answer.value))
  }
  // The job waits for its state without a slot. It stops waiting when its reservation would lapse.
  waitWithoutSlot(state, record)
  const lapsesAt = record.confirmedAt + Duration.toMillis(settings.reservationExpiry)
  // One response may omit a state by mistake. If several omit it, the service does not know the job.
  const ask = Effect.repeat(states.ask(job.id), {
    schedule: Schedule.spaced(settings.stateInterval),
    times: maxMissingStates,
    until: Predicate.isNotUndefined
  })
  const later = yield* Effect.timeoutOption(ask, Math.max(0, lapsesAt - state.now()))
  if (Option.isNone(later)) return yield* settle(state, record, StackEvent.ReservationLost({ job }))
  return later.value === "reserved"
    ? yield* finishLater(state, record, notAcquired)
    : yield* settle(state, record, ownershipOf(job, later.value))
})

const ownershipOf = (job: ScheduledJob, jobState: JobState | undefined): StackEvent =>
  jobState === "scheduled"
    ? StackEvent.ReservationLost({ job })
    : // Not knowing is no reason to finish a job that an agent may be running.
      (endOf(job, jobState) ?? StackEvent.AgentOwned({ job, state: jobState }))

const onRunFailure = Effect.fnUntraced(function* (
  state: StackState,
  record: JobRecord,
  cause: Cause.Cause<JobRunner.JobRunnerError>,
  trouble: ServiceTrouble
): Effect.fn.Return<void> {
  const { breaker } = state.dependencies
  const { job } = record
  const failure = classify(cause, trouble)
  switch (failure._tag) {
    case "NotOurs":
      return yield* onNotOurs(state, record)
    case "Service":
      record.isOffender = failure.isOffender
      // Only host trouble has a time limit.
      record.hostTroubleSince = undefined
      return yield* backOff(state, record, failure.message)
    case "Capacity":
      return yield* awaitCapacity(state, record, failure.message)
    case "Host": {
      yield* Effect.logInfo(`Job ${job.id} could not be started: ${failure.message}`, cause)
      record.hostTroubleSince ??= state.now()
      yield* breaker.failed(job.id, failure.message)
      return yield* backOff(state, record, failure.message)
    }
    case "Runner": {
      // The event contains the message of a failure. The stack trace of a defect is only in this log line.
      const log = Cause.hasDies(cause) ? Effect.logError : Effect.logDebug
      yield* log(`The runner of job ${job.id} failed`, cause)
      if (breaker.hasFailures()) yield* breaker.succeeded(job.id)
      return yield* failUnlessOwned(state, record, failure.message)
    }
  }
})

/** Finishes the job with -1 and `stack_error`, unless an agent has it or has finished it. */
const failUnlessOwned = Effect.fnUntraced(function* (state: StackState, record: JobRecord, detail: string) {
  if (record.run?.hasAgent !== true) return yield* finish(state, record, stackError(detail))
  const { job } = record
  const answer = yield* state.dependencies.states.askBriefly(job.id)
  const event = Option.isNone(answer) ? StackEvent.AgentOwned({ job, state: undefined }) : endOf(job, answer.value)
  return yield* event === undefined ? finish(state, record, stackError(detail)) : settle(state, record, event)
})

/** Handles a job without a token: another stack may have it. */
const onNotOurs = Effect.fnUntraced(function* (state: StackState, record: JobRecord) {
  const { job } = record
  const answer = yield* state.dependencies.states.askBriefly(job.id)
  yield* settle(state, record, endOf(job, Option.getOrUndefined(answer)) ?? StackEvent.ReservationLost({ job }))
})

/** Keeps the job reserved, without a slot, until its next start. */
const awaitCapacity = Effect.fnUntraced(function* (state: StackState, record: JobRecord, message: string) {
  const { breaker, emit } = state.dependencies
  const { job } = record
  // A lack of capacity is not host trouble.
  if (breaker.hasFailures()) yield* breaker.succeeded(job.id)
  if (state.phase !== "running") return yield* release(state, [record], message)
  record.failures++
  record.hostTroubleSince = undefined
  const delay = Backoff.delayAfter(record.failures, Backoff.forCapacity)
  record.startAt = state.now() + delay
  record.run = undefined
  record.keepsSlot = false
  state.table.move(record, "BackingOff")
  state.wake()
  yield* wakeIn(state, delay)
  yield* emit(StackEvent.BackedOff({ job, delay: Duration.millis(delay), message }))
})

/** Keeps the job reserved until its next start. Releases it if this host has had trouble for `startTimeout`. */
const backOff = Effect.fnUntraced(function* (state: StackState, record: JobRecord, message: string) {
  const { breaker, emit, settings } = state.dependencies
  const { hostTroubleSince, job } = record
  const now = state.now()
  const deadline =
    hostTroubleSince === undefined
      ? Number.POSITIVE_INFINITY
      : hostTroubleSince + Duration.toMillis(settings.startTimeout)
  if (state.phase !== "running" || now >= deadline || (hostTroubleSince !== undefined && breaker.isOpen())) {
    return yield* release(state, [record], `The job could not be started: ${message}`)
  }
  record.failures++
  const delay = Math.min(Backoff.delayAfter(record.failures), deadline - now)
  record.startAt = now + delay
  record.run = undefined
  // A job that makes requests fail keeps no slot. The number of such jobs must be limited.
  const isToBlame = record.isOffender || (hostTroubleSince === undefined && record.failures >= maxServiceFailures)
  const slotless = state.table.in("BackingOff").filter(({ keepsSlot }) => !keepsSlot).length
  record.keepsSlot = !isToBlame || slotless >= state.limit()
  state.table.move(record, "BackingOff")
  yield* wakeIn(state, delay)
  yield* emit(StackEvent.BackedOff({ job, delay: Duration.millis(delay), message }))
})
