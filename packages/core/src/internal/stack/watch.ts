/** Watches the states of the stack's jobs, and tells runners to stop. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { StopReason } from "../../JobRunner.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import { isAgentOwned, isFinal, type JobState, type ScheduledJob } from "../../StacksSchema.ts"
import { mayBeOneJob } from "../isolate.ts"
import { readStates } from "../jobStates/readStates.ts"
import type { JobRecord } from "./jobTable.ts"
import { RequestStreak } from "./requestStreak.ts"
import { requestTimeout, within } from "./requestTimeout.ts"
import { isNotFound } from "./serviceErrors.ts"
import { settle } from "./settle.ts"
import type { StackState } from "./stackState.ts"

/** Why the runner of a job in this state must stop; undefined if it need not. */
export const stopReasonOf = (state: JobState): "Canceled" | "TimedOut" | undefined => {
  switch (state) {
    case "canceled":
    case "canceling":
    case "expired":
      return "Canceled"
    case "timed_out":
    case "timing_out":
      return "TimedOut"
    default:
      return undefined
  }
}

/** The event for a job that is over or has an agent; undefined for every other state, and if the state is not known. */
export const endOf = (job: ScheduledJob, jobState: JobState | undefined): StackEvent | undefined => {
  if (jobState === undefined) return undefined
  if (isAgentOwned(jobState) || jobState === "finished") return StackEvent.AgentOwned({ job, state: jobState })
  return isFinal(jobState) ? StackEvent.Canceled({ job, state: jobState }) : undefined
}

/** The stop reasons in ascending precedence. */
const precedence: ReadonlyArray<StopReason | undefined> = [
  undefined,
  "Shutdown",
  "TimedOut",
  "Canceled",
  "ReservationLost",
  "Detach"
]

/**
 * Tells a job's runner to stop. An interruption follows: at once, or after `cancelGrace` if an agent has the job, because the
 * agent ends it itself. For `Shutdown`, the drain interrupts the runner after `shutdownGrace`.
 */
export const requestStop = (
  state: StackState,
  record: JobRecord,
  reason: StopReason,
  jobState?: JobState
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { run } = record
    if (run === undefined || precedence.indexOf(reason) <= precedence.indexOf(run.stopReason)) return Effect.void
    run.stopReason = reason
    run.stopState = jobState
    Deferred.doneUnsafe(run.stopRequested, Exit.succeed(reason))
    if (reason === "Shutdown") return Effect.void
    if (record.stage === "Running") state.table.move(record, "Stopping")
    const isGraceful = run.hasAgent && (reason === "Canceled" || reason === "TimedOut")
    if (!isGraceful) {
      Deferred.doneUnsafe(run.endRun, Exit.void)
      return Effect.void
    }
    const { settings } = state.dependencies
    return Effect.sync(() => Deferred.doneUnsafe(run.endRun, Exit.void)).pipe(
      Effect.delay(settings.cancelGrace),
      Effect.raceFirst(Deferred.await(run.endRun)),
      Effect.forkDetach({ startImmediately: true }),
      Effect.asVoid
    )
  })

/** Handles the state of a job: stops its run, or settles it if it waits or backs off. */
export const onState = (state: StackState, record: JobRecord, jobState: JobState | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (jobState === undefined) return Effect.void
    if (record.run !== undefined && isAgentOwned(jobState)) record.run.hasAgent = true
    const reason = stopReasonOf(jobState)
    if (reason === undefined) return Effect.void
    switch (record.stage) {
      case "Running":
      case "Stopping":
        return requestStop(state, record, reason, jobState)
      case "Reserved":
      case "BackingOff":
        return settle(state, record, StackEvent.Canceled({ job: record.job, state: jobState }))
      default:
        return Effect.void
    }
  })

/** Reads the states of all waiting and running jobs, every `stateInterval`. */
export const watchStates = (state: StackState): Effect.Effect<never> => {
  const { client, registration, settings } = state.dependencies
  const interval = Duration.toMillis(settings.stateInterval)
  const streak = new RequestStreak(state, { firstMillis: interval, maxMillis: Math.max(interval, 60_000) })

  const reportOffender = (jobUuid: string, error: StacksError) =>
    state.isFirstReport(`getJobStates ${jobUuid}`)
      ? state.dependencies.emit(StackEvent.RequestFailed({ error, jobUuid }))
      : Effect.void

  const clientWithTimeout: StacksClient.Service = {
    ...client,
    getJobStates: (request) => within(requestTimeout)(client.getJobStates(request))
  }

  const watchOnce = Effect.gen(function* () {
    const records = state.table.in("Reserved", "BackingOff", "Running", "Stopping")
    if (records.length === 0) return
    const registrationBefore = registration.current()
    const offenders = streak.offenders
    const read = (jobUuids: ReadonlyArray<string>, index: number) =>
      jobUuids.length === 0
        ? Effect.succeed(undefined)
        : readStates(
            clientWithTimeout,
            settings.key,
            jobUuids,
            (error) =>
              mayBeOneJob(error) || (index > 0 ? streak.isOffenderToBlame(error) : streak.isOneJobToBlame(error))
          )
    const ids = records.map(({ job }) => job.id)
    const others = ids.filter((id) => !offenders.has(id))
    const results = yield* Effect.forEach(
      [others, ...ids.filter((id) => offenders.has(id) && streak.isDue(id)).map((id) => [id])],
      read,
      { concurrency: 5 }
    )
    for (const [index, result] of results.entries()) {
      if (result === undefined) continue
      for (const [jobUuid, jobState] of result.states) {
        streak.clear(jobUuid)
        const record = state.table.get(jobUuid)
        if (record !== undefined) yield* onState(state, record, jobState)
      }
      for (const { error, item: jobUuid } of result.offenders) {
        streak.addOffender(jobUuid)
        yield* reportOffender(jobUuid, error)
      }
      const [failure] = result.failed
      // The result for an offender says nothing about the other jobs.
      if (failure === undefined) {
        if (index === 0) streak.succeeded()
      } else {
        if (index === 0) streak.failed()
        yield* state.dependencies.emit(StackEvent.RequestFailed({ error: failure.error }))
        if (isNotFound(failure.error)) yield* Effect.ignore(registration.registerAgain(registrationBefore))
      }
    }
  }).pipe(
    // The next read is the retry.
    RetryPolicy.withPolicy(RetryPolicy.none)
  )

  return Effect.gen(function* () {
    let next = state.now() + interval
    while (true) {
      // Sleep for whole milliseconds: a timer rounds a fraction down, and would end before `next`.
      yield* Effect.sleep(Math.max(1, Math.ceil(next - state.now())))
      yield* watchOnce
      // Keep the schedule after failures, so that stacks that fail at the same time stay apart.
      next += interval * Math.max(1, Math.ceil((state.now() - next) / interval))
    }
  })
}
