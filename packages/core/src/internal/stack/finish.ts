/** Reports how a job ended, until the service accepts it or the job is over for another reason. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SavedOutcome } from "../../JobStore.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import type { StacksError } from "../../StacksError.ts"
import { type JobState, MaxFinishDetailBytes, type ScheduledJob } from "../../StacksSchema.ts"
import { type Finished, sendable, stackError } from "../runnerOutcome.ts"
import { cropBytes } from "../schema/text.ts"
import type { JobRecord } from "./jobTable.ts"
import { OnRetry, persistent } from "./retryPolicies.ts"
import { isNotFound, isUnauthorized, mayBeProcessed, retryAfterOf } from "./serviceErrors.ts"
import { settle } from "./settle.ts"
import type { StackState } from "./stackState.ts"
import { endOf } from "./watch.ts"

const firstRetryMillis = 1000
const maxRetryMillis = 30_000
/** The delays between tries if the service refuses the finish of a job that this stack still has. */
const maxRejectedMillis = 300_000
/** After this many 404s in a row, each followed by a registration, the stack assumes that the service has deleted the job. */
const maxNotFound = 3

// -----------------------------------------------------------------------------
// Outcomes
// -----------------------------------------------------------------------------

/** The outcome to send: the runner's, or -1 with `stack_error` and the reason if the API does not accept it. */
export const toSaved = (outcome: Finished): SavedOutcome => {
  const { detail, exitStatus, signalReason } = sendable(outcome)
  return { exitStatus, detail: detail === "" ? "finished" : detail, signalReason }
}

const isStackError = ({ exitStatus, signalReason }: SavedOutcome): boolean =>
  exitStatus === -1 && signalReason === "stack_error"

/** The event for an outcome that the service has accepted. */
const acceptedEvent = (job: ScheduledJob, outcome: SavedOutcome): StackEvent =>
  isStackError(outcome)
    ? StackEvent.Failed({ job, detail: outcome.detail })
    : StackEvent.Finished({ job, exitStatus: outcome.exitStatus, detail: outcome.detail })

// -----------------------------------------------------------------------------
// Sending
// -----------------------------------------------------------------------------

/** Finishes a job that ran here: saves its outcome, and sends it until it is accepted. */
export const finish = Effect.fnUntraced(function* (
  state: StackState,
  record: JobRecord,
  outcome: SavedOutcome
): Effect.fn.Return<void> {
  record.outcome = yield* cropped(record.job.id, outcome)
  record.run = undefined
  state.table.move(record, "Finishing")
  yield* saveOutcome(state, record.job, record.outcome)
  yield* send(state, record, record.outcome, false)
})

/** Frees the job's slot, and stops its renewals. {@link finishLater} or `settle` follows. */
export const waitWithoutSlot = (state: StackState, record: JobRecord): void => {
  record.run = undefined
  record.isRenewed = false
  state.table.move(record, "Finishing")
  delayed(state, record)
}

/** Finishes a job that waited without a slot. */
export const finishLater = Effect.fnUntraced(function* (
  state: StackState,
  record: JobRecord,
  outcome: SavedOutcome
): Effect.fn.Return<void> {
  record.isRenewed = true
  record.outcome = yield* cropped(record.job.id, outcome)
  yield* saveOutcome(state, record.job, record.outcome)
  yield* send(state, record, record.outcome, false)
})

/** Sends an outcome that an earlier process has saved, and may have sent. */
export const sendRecovered = (state: StackState, job: ScheduledJob, outcome: SavedOutcome): Effect.Effect<void> =>
  Effect.suspend(() => {
    const record = state.add(job, "FinishDelayed", true)
    record.outcome = outcome
    return Effect.map(Effect.forkDetach(send(state, record, outcome, true)), (fiber) => {
      record.fiber = fiber
    })
  })

const cropped = (jobUuid: string, outcome: SavedOutcome): Effect.Effect<SavedOutcome> => {
  const detail = cropBytes(outcome.detail, MaxFinishDetailBytes)
  if (detail === outcome.detail.toWellFormed()) return Effect.succeed({ ...outcome, detail })
  return Effect.as(
    Effect.annotateLogs(Effect.logWarning(`The detail was cropped to ${MaxFinishDetailBytes} bytes`), {
      job_uuid: jobUuid
    }),
    { ...outcome, detail }
  )
}

/** Saves the outcome, so that the next process sends it if this one dies. */
const saveOutcome = (state: StackState, job: ScheduledJob, outcome: SavedOutcome): Effect.Effect<void> => {
  const { settings, store } = state.dependencies
  if (store === undefined) return Effect.void
  return store.save(settings.key, [{ job, outcome }]).pipe(
    Effect.timeout("15 seconds"),
    Effect.catchCause((cause) => Effect.logWarning(`The outcome of job ${job.id} could not be saved`, cause))
  )
}

/** The result of a try: an event that settles the job, or another try. */
type Next =
  | { readonly _tag: "Settled"; readonly event: StackEvent }
  | { readonly _tag: "Again"; readonly error: StacksError }

const settled = (event: StackEvent): Next => ({ _tag: "Settled", event })

const send = Effect.fnUntraced(function* (
  state: StackState,
  record: JobRecord,
  outcome: SavedOutcome,
  mayBeSent: boolean
): Effect.fn.Return<void> {
  let current = outcome
  /** The outcome that was sent last. If the job is over, it ended with this one. */
  let sent = outcome
  let mayBeFinished = mayBeSent
  let tries = 0
  let rejections = 0
  /** The number of 404s in a row. */
  let notFound = 0
  while (true) {
    const before = mayBeFinished ? yield* readStateBefore(state, record, sent, notFound >= maxNotFound) : undefined
    sent = current
    const next = before ?? (yield* sendOnce(state, record, current))
    if (next._tag === "Settled") return yield* settle(state, record, next.event)
    delayed(state, record)
    const { error } = next
    // A refused finish may mean that the job is over. A refused token says nothing about the job.
    const isRefused = error._tag === "ErrorResponse" && !error.isRetryable && !isUnauthorized(error)
    if (mayBeProcessed(error) || isRefused) mayBeFinished = true
    notFound = isNotFound(error) ? notFound + 1 : 0
    const isRejected = error._tag === "ErrorResponse" && error.reason._tag === "Unprocessable"
    const isUnsendable = error._tag === "InvalidRequest" || (error._tag === "ErrorResponse" && error.status === 400)
    if (isRejected || isUnsendable) {
      rejections++
      if (rejections === 1 && !isStackError(current)) {
        current = stackError(
          `The service refuses the outcome of the job (exit status ${current.exitStatus}): ${error.message}`
        )
        current = yield* cropped(record.job.id, current)
        record.outcome = current
        yield* saveOutcome(state, record.job, current)
        continue
      }
      if (state.isFirstReport(`finishJob ${record.job.id}`)) {
        yield* state.dependencies.emit(StackEvent.FinishRejected({ job: record.job, error }))
      }
      yield* Effect.sleep(Math.min(maxRejectedMillis, 5000 * 2 ** Math.min(10, rejections - 1)))
      continue
    }
    yield* state.dependencies.emit(StackEvent.RequestFailed({ error }))
    const own = Math.min(maxRetryMillis, firstRetryMillis * 1.5 ** Math.min(20, tries++))
    yield* Effect.sleep(Math.max(own, Duration.toMillis(retryAfterOf(error) ?? Duration.zero)))
  }
})

/** Frees the slot. */
const delayed = (state: StackState, record: JobRecord): void => {
  if (record.stage !== "Finishing") return
  state.table.move(record, "FinishDelayed")
  state.wake()
}

/** Sends the outcome, and repeats it while the service fails. */
const sendOnce = (state: StackState, record: JobRecord, outcome: SavedOutcome): Effect.Effect<Next> => {
  const { client, emit, registration, settings } = state.dependencies
  const { job } = record
  return Effect.suspend(() => {
    const registrationBefore = registration.current()
    return client.finishJob({ stackKey: settings.key, jobUuid: job.id, ...outcome }).pipe(
      RetryPolicy.withPolicy(persistent),
      Effect.provideService(OnRetry, (error) =>
        Effect.suspend(() => {
          delayed(state, record)
          return emit(StackEvent.RequestFailed({ error }))
        })
      ),
      Effect.matchEffect({
        onSuccess: () => Effect.succeed(settled(acceptedEvent(job, outcome))),
        onFailure: (error) => {
          const again: Next = { _tag: "Again", error }
          if (isNotFound(error)) return Effect.as(Effect.ignore(registration.registerAgain(registrationBefore)), again)
          if (error._tag !== "ErrorResponse" || error.reason._tag !== "Unprocessable") return Effect.succeed(again)
          delayed(state, record)
          // Only the state distinguishes a refused outcome from a job that is over. The job holds no slot while its state is read.
          return Effect.map(
            state.dependencies.states.ask(job.id),
            (jobState) => endedElsewhere(record, jobState) ?? again
          )
        }
      })
    )
  })
}

/** Whether the job's state shows that the outcome was accepted. If the state can't be read, the finish is sent. */
const readStateBefore = (
  state: StackState,
  record: JobRecord,
  outcome: SavedOutcome,
  mayBeDeleted: boolean
): Effect.Effect<Next | undefined> =>
  Effect.map(state.dependencies.states.askBriefly(record.job.id), (answer) => {
    if (Option.isNone(answer)) return undefined
    const jobState = answer.value
    if (jobState === "finished") return settled(acceptedEvent(record.job, outcome))
    if (jobState === undefined && mayBeDeleted) return settled(StackEvent.ReservationLost({ job: record.job }))
    return endedElsewhere(record, jobState)
  })

/** The event for a job that needs no finish, because it is over or another stack has it. */
const endedElsewhere = ({ isRenewed, job, stage }: JobRecord, jobState: JobState | undefined): Next | undefined => {
  const event = endOf(job, jobState)
  if (event !== undefined) return settled(event)
  // A renewal has shown that another stack has the job.
  return stage === "FinishDelayed" && !isRenewed ? settled(StackEvent.ReservationLost({ job })) : undefined
}
