/** Reserves pending jobs, as many as there are free slots, and reserves jobs in doubt again. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import * as StacksError from "../../StacksError.ts"
import { MaxBatchSize, type ScheduledJob } from "../../StacksSchema.ts"
import { declarations } from "../api/declaration.ts"
import { isolate, mayBeOneJob } from "../isolate.ts"
import * as Backoff from "./jobBackoff.ts"
import type { JobRecord } from "./jobTable.ts"
import * as Prioritize from "./prioritize.ts"
import { onRecoveredJobRefused } from "./recover.ts"
import { RequestStreak } from "./requestStreak.ts"
import { requestTimeout, within } from "./requestTimeout.ts"
import { isNotFound, isRefusal, isUnauthorized, mayBeProcessed, retryAfterOf } from "./serviceErrors.ts"
import { removeSaved, settle } from "./settle.ts"
import { inReserveSpan } from "./spans.ts"
import type { StackState } from "./stackState.ts"
import { startIfPossible, startWaiting } from "./start.ts"
import { wakeIn } from "./wakeIn.ts"

/** A longer `Retry-After` is cut to this. */
const maxBackoffMillis = 5 * 60_000
/**
 * The minimum time between two reserve requests if most slots are taken. The service accepts ten per second, and jobs that end one by one
 * would use one request each.
 */
const paceMillis = 100
/** The stack asks at most this many times about a job that responses do not mention: the first request and five repeats. */
const maxDoubts = 6

/** The state of the loop between requests. */
interface Progress {
  /** Failures in a row. */
  failures: number
  lastRequestAt: number
  /** Requests in flight. */
  requests: number
  /** Offenders with a request of their own in flight. */
  readonly requestedAlone: Set<string>
}

/** The loop that starts waiting jobs, and reserves as many jobs as there is room for. */
export const reserveLoop = (state: StackState, updateGauges: Effect.Effect<void>): Effect.Effect<never> => {
  const streak = new RequestStreak(state)
  const progress: Progress = {
    failures: 0,
    lastRequestAt: Number.NEGATIVE_INFINITY,
    requests: 0,
    requestedAlone: new Set()
  }
  const { work } = state.signals
  return Effect.forever(
    Effect.suspend(() => {
      work.closeUnsafe()
      return startWaiting(state).pipe(
        Effect.andThen(dropUnconfirmed(state)),
        Effect.andThen(askAll(state, streak, progress)),
        Effect.andThen(updateGauges),
        Effect.andThen(work.await)
      )
    })
  )
}

// -----------------------------------------------------------------------------
// Which jobs to ask for
// -----------------------------------------------------------------------------

const askAll = Effect.fnUntraced(function* (state: StackState, streak: RequestStreak, progress: Progress) {
  const isBackingOff = () => state.reserveBackoffUntil > state.now()
  if (isBackingOff()) return
  const ask = (records: ReadonlyArray<JobRecord>) =>
    records.length === 0 || isBackingOff() ? Effect.void : request(state, streak, progress, records, [])
  const isDue = ({ retryAt }: JobRecord) => retryAt <= state.now()

  const unconfirmed = state.table.in("Unconfirmed").filter(isDue)
  yield* ask(unconfirmed.filter(({ isOffender }) => !isOffender).slice(0, MaxBatchSize))
  for (const record of unconfirmed.filter(({ isOffender }) => isOffender)) {
    yield* forkAlone(state, progress, record.job.id, ask([record]))
  }

  const inDoubt = state.table.in("ReservingAgain").filter(isDue)
  if (inDoubt.length > 0) return yield* ask(inDoubt.slice(0, MaxBatchSize))

  const pause = progress.lastRequestAt + paceMillis - state.now()
  if (pause > 0 && Prioritize.spareSlots(state) < state.limit() / 4) yield* Effect.sleep(pause)
  if (isBackingOff()) return
  const jobs = Prioritize.takePending(state)
  yield* state.dependencies.admission.flush
  if (jobs.length === 0) return
  const isOffender = ({ id }: ScheduledJob) => state.backoff.isOffender(id)
  const together = jobs.filter((job) => !isOffender(job))
  if (together.length > 0) yield* request(state, streak, progress, [], together)
  for (const job of jobs.filter(isOffender)) {
    yield* forkAlone(state, progress, job.id, request(state, streak, progress, [], [job]))
  }
})

/** Reserves an offender alone and in a separate fiber, because its request may never get a response. */
const forkAlone = (
  state: StackState,
  { requestedAlone }: Progress,
  jobUuid: string,
  request: Effect.Effect<void>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (requestedAlone.has(jobUuid)) return Effect.void
    requestedAlone.add(jobUuid)
    return request.pipe(
      Effect.ensuring(Effect.sync(() => void requestedAlone.delete(jobUuid))),
      Effect.forkIn(state.dependencies.scope, { startImmediately: true }),
      Effect.asVoid
    )
  })

/** Sends one request, for jobs in doubt or for new jobs. It is uninterruptible until the table is up to date. */
const request = (
  state: StackState,
  streak: RequestStreak,
  progress: Progress,
  inDoubt: ReadonlyArray<JobRecord>,
  fresh: ReadonlyArray<ScheduledJob>
): Effect.Effect<void> => {
  const { reserveIdle } = state.signals
  return Effect.suspend(() => {
    progress.requests++
    reserveIdle.closeUnsafe()
    return Effect.uninterruptible(reserve(state, streak, progress, inDoubt, fresh))
  }).pipe(
    Effect.ensuring(
      Effect.sync(() => {
        progress.lastRequestAt = state.now()
        progress.requests--
        if (progress.requests === 0) reserveIdle.openUnsafe()
        state.wake()
      })
    )
  )
}

/** Drops jobs that the service has not mentioned for a whole expiry, because a reservation would have lapsed. */
const dropUnconfirmed = (state: StackState): Effect.Effect<void> => {
  const expiry = Duration.toMillis(state.dependencies.settings.reservationExpiry)
  const lapsed = state.table.in("Unconfirmed").filter(({ requestedAt }) => requestedAt + expiry <= state.now())
  return Effect.forEach(lapsed, (record) => notReserved(state, record, record.isOffender), { discard: true })
}

// -----------------------------------------------------------------------------
// The request
// -----------------------------------------------------------------------------

const reserve = Effect.fnUntraced(function* (
  state: StackState,
  streak: RequestStreak,
  progress: Progress,
  inDoubt: ReadonlyArray<JobRecord>,
  fresh: ReadonlyArray<ScheduledJob>
) {
  const { settings } = state.dependencies
  const isSaved = fresh.length === 0 || (yield* save(state, fresh))
  if (!isSaved) {
    for (const { id } of fresh) state.reservingAmounts.delete(id)
    state.pending.add(fresh)
    return yield* backOffReserving(state, progress, undefined)
  }
  const records = [...inDoubt, ...fresh.map((job) => state.add(job, "Reserving"))]
  // The result for an offender says nothing about the other jobs.
  const isOffender =
    records.length === 1 && records.every(({ isOffender, job }) => isOffender || state.backoff.isOffender(job.id))
  for (const { id } of fresh) state.reservingAmounts.delete(id)
  const registrationBefore = state.dependencies.registration.current()
  yield* inReserveSpan(records.length, settings.key, (span) =>
    Effect.gen(function* () {
      for (const record of records) record.reserveSpan = span
      const jobUuids = records.map(({ job }) => job.id)
      yield* Effect.matchEffect(send(state, jobUuids), {
        onSuccess: (answer) => {
          if (!isOffender) {
            streak.succeeded()
            progress.failures = 0
          }
          return onAnswer(state, jobUuids, answer)
        },
        onFailure: (error) => {
          const isDivisible = (error: StacksError.StacksError) =>
            mayBeOneJob(error) || (isOffender ? streak.isOffenderToBlame(error) : streak.isOneJobToBlame(error))
          if (!isDivisible(error)) return onFailure(state, streak, progress, jobUuids, error, registrationBefore)
          return Effect.flatMap(
            isolate({
              items: jobUuids,
              error,
              request: (jobUuids) => send(state, jobUuids),
              onAnswer: (jobUuids, answer) => onAnswer(state, jobUuids, answer),
              isDivisible
            }),
            Effect.fnUntraced(function* ({ failed, offenders }) {
              if (failed.length === 0 && !isOffender) {
                streak.succeeded()
                progress.failures = 0
              }
              for (const { error, item } of offenders) yield* onOffender(state, item, error)
              for (const { error, items } of failed) {
                yield* onFailure(state, streak, progress, items, error, registrationBefore)
              }
            })
          )
        }
      })
    })
  )
})

/** Sends the request once, because the next one is the retry. Waits for the response only until `abortReserve` is done. */
const send = (state: StackState, jobUuids: ReadonlyArray<string>): Effect.Effect<Answer, StacksError.StacksError> =>
  Effect.suspend(() => {
    const { client, settings } = state.dependencies
    const now = state.now()
    for (const jobUuid of jobUuids) {
      const record = state.table.get(jobUuid)
      if (record !== undefined) record.requestedAt = now
    }
    const { key: stackKey, reservationExpiry } = settings
    return client
      .batchReserveJobs({ stackKey, jobUuids, reservationExpiry })
      .pipe(
        RetryPolicy.withPolicy(RetryPolicy.none),
        within(requestTimeout),
        Effect.raceFirst(Effect.andThen(Deferred.await(state.signals.abortReserve), aborted))
      )
  })

const { method, path: url } = declarations.batchReserveJobs

/** The failure of a request that the stack no longer waits for. The service may have acted on it. */
const aborted = Effect.fail(
  new StacksError.TransportError({
    operation: "batchReserveJobs",
    method,
    url,
    kind: "Timeout",
    mayHaveBeenProcessed: true,
    description: "the stack has ended before there was a response"
  })
)

interface Answer {
  readonly reserved: ReadonlyArray<string>
  readonly notReserved: ReadonlyArray<string>
}

/** Saves jobs before they are reserved. Returns false if that fails; then they must not be reserved. */
const save = (state: StackState, jobs: ReadonlyArray<ScheduledJob>): Effect.Effect<boolean> => {
  const { settings, store } = state.dependencies
  if (store === undefined) return Effect.succeed(true)
  return store
    .save(
      settings.key,
      jobs.map((job) => ({ job }))
    )
    .pipe(
      Effect.timeout(requestTimeout),
      Effect.as(true),
      Effect.catchCause((cause) =>
        Effect.as(
          Effect.logWarning(`${jobs.length} jobs can't be reserved: the job store does not take them`, cause),
          false
        )
      ),
      Effect.raceFirst(Effect.as(Deferred.await(state.signals.abortReserve), false))
    )
}

// -----------------------------------------------------------------------------
// Responses
// -----------------------------------------------------------------------------

const onAnswer = (
  state: StackState,
  jobUuids: ReadonlyArray<string>,
  { notReserved: refused, reserved }: Answer
): Effect.Effect<void> => {
  const isReserved = new Set(reserved)
  const isRefused = new Set(refused)
  return Effect.forEach(
    jobUuids,
    (jobUuid) => {
      const record = state.table.get(jobUuid)
      if (record === undefined || !isAsked(record)) return Effect.void
      if (isReserved.has(jobUuid)) return onReserved(state, record)
      if (isRefused.has(jobUuid)) return onRefused(state, record)
      return unconfirmed(state, record, "the response does not mention the job")
    },
    { discard: true }
  )
}

const isAsked = ({ stage }: JobRecord): boolean =>
  stage === "Reserving" || stage === "ReservingAgain" || stage === "Unconfirmed"

const onReserved = (state: StackState, record: JobRecord): Effect.Effect<void> => {
  record.confirmedAt = record.requestedAt
  record.isOffender = false
  record.keepsSlot = record.stage !== "Unconfirmed"
  state.table.move(record, "Reserved")
  // Earlier refusals say nothing about whether the job can start.
  state.backoff.clear(record.job.id)
  if (record.wasReserved) return startIfPossible(state, record)
  record.wasReserved = true
  return Effect.andThen(
    state.dependencies.emit(StackEvent.Reserved({ job: record.job })),
    startIfPossible(state, record)
  )
}

const onRefused = (state: StackState, record: JobRecord): Effect.Effect<void> => {
  if (!record.isRecovered) return notReserved(state, record, false)
  record.retryAt = Number.POSITIVE_INFINITY
  return Effect.asVoid(Effect.forkIn(onRecoveredJobRefused(state, record), state.dependencies.scope))
}

/** Handles a failure that is not known to be caused by a job. */
const onFailure = Effect.fnUntraced(function* (
  state: StackState,
  streak: RequestStreak,
  progress: Progress,
  jobUuids: ReadonlyArray<string>,
  error: StacksError.StacksError,
  registrationBefore: number
) {
  const { emit, registration, scope } = state.dependencies
  streak.failed()
  yield* backOffReserving(state, progress, retryAfterOf(error))
  yield* emit(StackEvent.RequestFailed({ error }))
  const mayBeReserved = mayBeProcessed(error)
  const unreserved: Array<JobRecord> = []
  for (const jobUuid of jobUuids) {
    const record = state.table.get(jobUuid)
    if (record === undefined) continue
    if (error._tag === "DecodeError" && isAsked(record)) {
      // The response does not decode, so it is unknown whether the job is reserved.
      yield* unconfirmed(state, record, error.message, false)
      continue
    }
    if (record.stage !== "Reserving") continue
    if (mayBeReserved) state.table.move(record, "ReservingAgain")
    else unreserved.push(record)
  }
  yield* backToPending(state, unreserved)
  // This may take long, and may be interrupted.
  if (isNotFound(error)) yield* Effect.forkIn(Effect.ignore(registration.registerAgain(registrationBefore)), scope)
})

/** Moves jobs that the service certainly did not reserve back to the pending jobs. */
const backToPending = (state: StackState, records: ReadonlyArray<JobRecord>): Effect.Effect<void> => {
  for (const record of records) {
    state.remove(record)
    state.recentlySettled.delete(record.job.id)
  }
  state.pending.add(records.map(({ job }) => job))
  state.openIfDrained()
  return removeSaved(
    state,
    records.map(({ job }) => job.id)
  )
}

/** Handles a request that failed because of this job. */
const onOffender = Effect.fnUntraced(function* (state: StackState, jobUuid: string, error: StacksError.StacksError) {
  const record = state.table.get(jobUuid)
  if (record === undefined || !isAsked(record)) return
  record.isOffender = true
  if (state.isFirstReport(`batchReserveJobs ${jobUuid}`)) {
    yield* state.dependencies.emit(StackEvent.RequestFailed({ error, jobUuid }))
  }
  if (record.stage === "Reserving" && !mayBeProcessed(error)) return yield* notReserved(state, record, true)
  // 401, 403 and 404 say nothing about the job, so it may still be reserved. Every other refusal is a response about the job.
  const isAboutJob = isRefusal(error) && !isUnauthorized(error) && !isNotFound(error)
  yield* unconfirmed(state, record, error.message, isAboutJob)
})

/**
 * Handles a response that leaves open whether this job is reserved. A response without the job is followed by at most five more requests.
 * If there is no usable response (`isAnswered` is false), the requests are not limited.
 */
const unconfirmed = Effect.fnUntraced(function* (
  state: StackState,
  record: JobRecord,
  reason: string,
  isAnswered = true
) {
  record.doubts = isAnswered ? record.doubts + 1 : Math.min(record.doubts + 1, maxDoubts - 1)
  const now = state.now()
  record.retryAt = record.doubts >= maxDoubts ? Number.POSITIVE_INFINITY : now + 1000 * 2 ** (record.doubts - 1)
  if (record.stage !== "Unconfirmed") {
    state.table.move(record, "Unconfirmed")
    yield* state.dependencies.emit(StackEvent.InDoubt({ job: record.job, reason }))
  }
  const expiry = Duration.toMillis(state.dependencies.settings.reservationExpiry)
  yield* wakeIn(state, Math.min(record.retryAt, record.requestedAt + expiry) - now)
})

const notReserved = (state: StackState, record: JobRecord, isOffender: boolean): Effect.Effect<void> => {
  const { job, wasReserved } = record
  state.backoff.add(job.id, state.now(), Backoff.standard, isOffender)
  return settle(state, record, wasReserved ? StackEvent.ReservationLost({ job }) : StackEvent.NotReserved({ job }))
}

// -----------------------------------------------------------------------------
// Backoff
// -----------------------------------------------------------------------------

/** Reserves nothing for 1, 2, 4 … 30 seconds, or longer if the service asks for it. */
const backOffReserving = (state: StackState, progress: Progress, asked: Duration.Duration | undefined) => {
  progress.failures++
  const own = Math.min(30_000, 500 * 2 ** Math.min(10, progress.failures))
  const millis = Math.min(maxBackoffMillis, Math.max(own, asked === undefined ? 0 : Duration.toMillis(asked)))
  state.reserveBackoffUntil = Math.max(state.reserveBackoffUntil, state.now() + millis)
  return wakeIn(state, millis)
}
