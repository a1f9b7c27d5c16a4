/** Renews the reservations of the stack's jobs, every quarter of `reservationExpiry`. */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import type { StacksError } from "../../StacksError.ts"
import { isAgentOwned, isFinal, type JobState, MaxBatchSize } from "../../StacksSchema.ts"
import { isolate, mayBeOneJob } from "../isolate.ts"
import type { JobRecord } from "./jobTable.ts"
import { releaseUntracked } from "./release.ts"
import { RequestStreak } from "./requestStreak.ts"
import { requestTimeout, within } from "./requestTimeout.ts"
import { isNotFound } from "./serviceErrors.ts"
import { settle } from "./settle.ts"
import type { StackState } from "./stackState.ts"
import { launch } from "./start.ts"
import { endOf, onState, requestStop } from "./watch.ts"

/** How many renewals there are per expiry, so that three in a row may fail. */
const renewals = 4

export const renewLoop = (state: StackState): Effect.Effect<never> => {
  const { settings } = state.dependencies
  const interval = Duration.times(settings.reservationExpiry, 1 / renewals)
  const timeout = timeoutOf(settings.reservationExpiry)
  /** The delay after a failure. */
  const soon = Duration.times(interval, 0.1)
  const streak = new RequestStreak(state, {
    firstMillis: Duration.toMillis(soon),
    maxMillis: Duration.toMillis(interval)
  })
  return Effect.gen(function* () {
    let hasFailed = false
    while (true) {
      yield* Effect.sleep(hasFailed ? soon : interval)
      hasFailed = yield* renewAll(state, streak, timeout)
    }
  })
}

/**
 * How long a renewal may take. If one job of 1000 is the reason for missing responses, finding it takes as long as 13 requests: three fail
 * before the first division, and there are ten divisions, whose two halves are requested concurrently. The other reservations must not
 * lapse during that time.
 */
const timeoutOf = (reservationExpiry: Duration.Duration): Duration.Duration => {
  const share = (parts: number) => Duration.times(reservationExpiry, 1 / parts)
  return Duration.min(requestTimeout, Duration.min(share(2 * renewals), Duration.max(share(20), Duration.seconds(5))))
}

/** Renews all reservations once. Returns whether a part of it failed. */
const renewAll = (state: StackState, streak: RequestStreak, timeout: Duration.Duration): Effect.Effect<boolean> => {
  const records = state.table.renewed()
  if (records.length === 0) return Effect.succeed(false)
  const isOffender = ({ job }: JobRecord) => streak.offenders.has(job.id)
  const together = records.filter((record) => !isOffender(record))
  // Jobs that made requests fail are renewed alone.
  const alone = records.filter((record) => isOffender(record) && streak.isDue(record.job.id))
  const requests = [...Arr.chunksOf(together, MaxBatchSize), ...alone.map((record) => [record])]
  const { renewIdle } = state.signals
  return Effect.suspend(() => {
    renewIdle.closeUnsafe()
    return Effect.forEach(requests, (records) => renew(state, streak, records, timeout), { concurrency: 5 })
  }).pipe(
    Effect.ensuring(Effect.sync(() => renewIdle.openUnsafe())),
    Effect.map((failures) => failures.includes(true))
  )
}

const renew = Effect.fnUntraced(function* (
  state: StackState,
  streak: RequestStreak,
  records: ReadonlyArray<JobRecord>,
  timeout: Duration.Duration
): Effect.fn.Return<boolean> {
  const { client, emit, registration, settings } = state.dependencies
  const jobUuids = records.map(({ job }) => job.id)
  const registrationBefore = registration.current()
  const [first] = jobUuids
  const isOffender = jobUuids.length === 1 && first !== undefined && streak.offenders.has(first)
  // The result for an offender says nothing about the other jobs.
  const succeeded = () => (isOffender ? undefined : streak.succeeded())

  const request = (asked: ReadonlyArray<string>) =>
    Effect.suspend(() => {
      const requestedAt = state.now()
      // Some jobs may have left since the last request.
      const jobUuids = asked.filter((jobUuid) => state.table.get(jobUuid)?.isRenewed === true)
      if (jobUuids.length === 0) return Effect.succeed({ reserved: [], notReserved: [], requestedAt })
      for (const jobUuid of jobUuids) {
        const record = state.table.get(jobUuid)
        if (record !== undefined) record.requestedAt = requestedAt
      }
      return client
        .batchReserveJobs({ stackKey: settings.key, jobUuids, reservationExpiry: settings.reservationExpiry })
        .pipe(
          RetryPolicy.withPolicy(RetryPolicy.none),
          within(timeout),
          Effect.map((answer) => ({ ...answer, requestedAt }))
        )
    })

  const onAnswer = (
    jobUuids: ReadonlyArray<string>,
    answer: {
      readonly reserved: ReadonlyArray<string>
      readonly notReserved: ReadonlyArray<string>
      requestedAt: number
    }
  ) =>
    Effect.gen(function* () {
      const isReserved = new Set(answer.reserved)
      const isRefused = new Set(answer.notReserved)
      // The job left during the request, so its renewed reservation must be released.
      const untracked = answer.reserved.filter((jobUuid) => !state.table.has(jobUuid))
      if (untracked.length > 0) yield* Effect.forkIn(releaseUntracked(state, untracked), state.dependencies.scope)
      for (const jobUuid of jobUuids) {
        const record = state.table.get(jobUuid)
        if (record === undefined || !record.isRenewed) continue
        if (isReserved.has(jobUuid)) {
          streak.clear(jobUuid)
          record.confirmedAt = answer.requestedAt
        } else if (isRefused.has(jobUuid)) {
          streak.clear(jobUuid)
          yield* Effect.forkIn(onNotRenewed(state, record), state.dependencies.scope)
        } else if (state.isFirstReport(`renew ${jobUuid}`)) {
          // The next request renews the job again, while the last extension is valid.
          yield* emit(
            StackEvent.InDoubt({ job: record.job, reason: "the response to a renewal does not mention the job" })
          )
        }
      }
    })

  const onFailure = (error: StacksError) =>
    Effect.gen(function* () {
      if (!isOffender) streak.failed()
      yield* emit(StackEvent.RequestFailed({ error }))
      if (isNotFound(error))
        yield* Effect.forkIn(Effect.ignore(registration.registerAgain(registrationBefore)), state.dependencies.scope)
      return true
    })

  return yield* Effect.matchEffect(request(jobUuids), {
    onSuccess: (answer) => {
      succeeded()
      return Effect.as(onAnswer(jobUuids, answer), false)
    },
    onFailure: Effect.fnUntraced(function* (error) {
      const isDivisible = (error: StacksError) =>
        mayBeOneJob(error) || (isOffender ? streak.isOffenderToBlame(error) : streak.isOneJobToBlame(error))
      if (!isDivisible(error)) return yield* onFailure(error)
      const { failed, offenders } = yield* isolate({ items: jobUuids, error, request, onAnswer, isDivisible })
      for (const { error, item: jobUuid } of offenders) {
        streak.addOffender(jobUuid)
        if (state.isFirstReport(`renew ${jobUuid}`)) yield* emit(StackEvent.RequestFailed({ error, jobUuid }))
      }
      const [failure] = failed
      if (failure !== undefined) return yield* onFailure(failure.error)
      succeeded()
      return offenders.length > 0
    })
  })
})

/** Handles a job that a renewal did not reserve: it has an agent, is over, or another stack has it. */
const onNotRenewed = Effect.fnUntraced(function* (state: StackState, record: JobRecord) {
  const { runner, states } = state.dependencies
  const { job } = record
  const jobState = yield* states.ask(job.id)
  if (state.table.get(job.id) !== record) return
  const isNotOurs = jobState === undefined || !(isAgentOwned(jobState) || isFinal(jobState))
  switch (record.stage) {
    case "Reserved":
    case "BackingOff": {
      const hasAgent = jobState !== undefined && isAgentOwned(jobState)
      record.isRenewed = false
      // An earlier start has left an agent, which the runner will find.
      if (hasAgent && runner.outlivesStack === true)
        return state.mayStart() ? yield* launch(state, record, true) : undefined
      return yield* settle(state, record, endOf(job, jobState) ?? StackEvent.ReservationLost({ job }))
    }
    case "Starting":
    case "Running":
    case "Stopping":
      record.isRenewed = false
      if (isNotOurs) return yield* requestStop(state, record, "ReservationLost")
      return yield* onState(state, record, jobState as JobState)
    case "Finishing":
    case "FinishDelayed":
      // The finish shows why, so there is nothing to do, unless another stack has the job: then stop renewing it.
      if (jobState === "reserved") record.isRenewed = false
      return
    default:
      return
  }
})
