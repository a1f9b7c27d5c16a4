/**
 * The jobs of a queue that this process leads, as the database has them: the stack's `JobStore`, and which jobs are ready, and how
 * they ended. It ends with the term of the leader. After that none of its statements changes anything.
 */
import { type Service as JobStore, JobStoreError, type SavedJob } from "@stacksapi/core/JobStore"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { FailOnDefect } from "./failOnDefect.ts"
import type { Requests } from "./requests.ts"
import type { EndedJob, Storage, StoredJob, Term } from "./storage.ts"
import type { View } from "./view.ts"

interface LedJob {
  rowId: number
  /** Whether a process had begun it when the last leader died. */
  readonly hadBegun: boolean
  /** Whether the database has the outcome. */
  hasOutcome: boolean
  /** The end of this dispatch, and of earlier ones, was handled. */
  after: number
  waiting: { readonly end: Deferred.Deferred<EndedJob>; readonly since: number } | undefined
}

export interface LedQueue {
  readonly term: Term
  readonly store: JobStore
  /** Makes a job ready, unless it is already, and waits until it ends or is orphaned. */
  readonly dispatch: (job: ScheduledJob) => Effect.Effect<EndedJob>
  /** Marks the end of a job as handled: the next `dispatch` makes the job ready again. */
  readonly consume: (ended: EndedJob) => void
  readonly hadBegun: (jobUuid: string) => boolean
  /** The row of a job, while the queue has the job. */
  readonly rowIdOf: (jobUuid: string) => number | undefined
  /** Takes the ends of jobs from the read with this number. */
  readonly deliver: (ended: ReadonlyArray<EndedJob>, readNumber: number) => void
}

export interface LedQueueOptions {
  readonly storage: Storage
  readonly requests: Requests
  readonly failOnDefect: FailOnDefect
  readonly term: Term
  readonly view: View
  /** The number of the read of ended jobs that was sent last. */
  readonly readCount: () => number
  /** Has ended jobs read soon. */
  readonly readSoon: () => void
}

/** Jobs that are dispatched or removed now join the statement. */
const batchDelay = "5 millis"
const maxBatch = 500
const tidyInterval = "10 minutes"

/** What the functions below share. */
interface State extends LedQueueOptions {
  readonly jobs: Map<string, LedJob>
  /** Each is an object of its own: a job may be offered again while the answer to an earlier offer is on its way. */
  readonly offers: Map<string, { readonly job: ScheduledJob; readonly after: number }>
  /** The rows of jobs that are over, which are to be removed. */
  readonly removals: Map<string, number | undefined>
  /** Open while there are offers or removals. */
  readonly wantedLatch: Latch.Latch
  /** Serializes saves and removals, so that a job that is listed again is saved after it was removed. */
  readonly oneAtATime: Semaphore.Semaphore
}

export const make = Effect.fnUntraced(function* (
  options: LedQueueOptions
): Effect.fn.Return<LedQueue, never, Scope.Scope> {
  const state: State = {
    ...options,
    jobs: new Map(),
    offers: new Map(),
    removals: new Map(),
    wantedLatch: yield* Latch.make(false),
    oneAtATime: yield* Semaphore.make(1)
  }
  const { failOnDefect, jobs, oneAtATime } = state
  yield* Effect.forkScoped(failOnDefect(Effect.forever(writeSome(state))))
  yield* Effect.forkScoped(failOnDefect(Effect.forever(Effect.delay(oneAtATime.withPermit(tidy(state)), tidyInterval))))
  // The next leader would read the state of each job that has a row.
  yield* Effect.addFinalizer(() => removeSome(state))
  return {
    term: options.term,
    store: storeOf(state),
    dispatch: (job) => dispatch(state, job),
    consume: ({ dispatch, jobUuid }) => {
      const record = jobs.get(jobUuid)
      if (record === undefined) return
      record.after = dispatch
      record.hasOutcome = false
    },
    hadBegun: (jobUuid) => jobs.get(jobUuid)?.hadBegun === true,
    rowIdOf: (jobUuid) => jobs.get(jobUuid)?.rowId,
    deliver: (ended, readNumber) => deliver(state, ended, readNumber)
  }
})

// -----------------------------------------------------------------------------
// Dispatches
// -----------------------------------------------------------------------------

const dispatch = ({ jobs, offers, readCount, wantedLatch }: State, job: ScheduledJob): Effect.Effect<EndedJob> =>
  Effect.suspend(() => {
    const record = jobs.get(job.id)
    // It was removed while its runner was about to begin.
    if (record === undefined) return Effect.never
    const end = Deferred.makeUnsafe<EndedJob>()
    record.waiting = { end, since: readCount() }
    offers.set(job.id, { job, after: record.after })
    wantedLatch.openUnsafe()
    return Effect.ensuring(
      Deferred.await(end),
      Effect.sync(() => {
        record.waiting = undefined
        offers.delete(job.id)
      })
    )
  })

const deliver = ({ jobs, term, view }: State, ended: ReadonlyArray<EndedJob>, readNumber: number): void => {
  for (const end of ended) {
    const record = jobs.get(end.jobUuid)
    if (end.stackKey !== term.stackKey || record?.waiting === undefined) continue
    // A read that was sent before the job was dispatched may tell of an earlier dispatch.
    if (end.dispatch <= record.after || record.waiting.since >= readNumber) continue
    record.hasOutcome = end.outcome !== undefined
    if (end.owner !== null) view.freed(end.owner)
    Deferred.doneUnsafe(record.waiting.end, Effect.succeed(end))
  }
}

/** Sends offers and removals of one moment. */
const writeSome = (state: State) =>
  Effect.gen(function* () {
    const { offers, oneAtATime, removals, wantedLatch } = state
    yield* wantedLatch.await
    yield* Effect.sleep(batchDelay)
    yield* offerSome(state)
    const isDone = yield* oneAtATime.withPermit(removeSome(state))
    if (!isDone) yield* Effect.sleep("500 millis")
    else if (offers.size + removals.size === 0) wantedLatch.closeUnsafe()
  })

const offerSome = (state: State) =>
  Effect.suspend(() => {
    const { offers, readSoon, requests, storage, term, view } = state
    const batch = Array.from(offers.values()).slice(0, maxBatch)
    if (batch.length === 0) return Effect.void
    const entries = batch.map(({ after, job }) => ({ jobUuid: job.id, after }))
    return Effect.flatMap(
      requests.persistently(storage.offer(term, entries, view.hint(term.stackKey, batch.length))),
      (found) => {
        const current = batch.filter((offer) => offers.get(offer.job.id) === offer)
        const missing = current.filter(({ job }) => !found.has(job.id)).map(({ job }) => job)
        for (const { job } of current) if (found.has(job.id)) offers.delete(job.id)
        // A job that is not ready for the first time may have ended already.
        if (batch.some(({ job }) => found.get(job.id)?.isNew !== true)) readSoon()
        // Their rows were removed by a statement that took effect late.
        return missing.length === 0
          ? Effect.void
          : Effect.andThen(Effect.ignore(save(state, missing)), Effect.sleep("1 second"))
      }
    )
  })

// -----------------------------------------------------------------------------
// Rows
// -----------------------------------------------------------------------------

/** Whether it is done. */
const removeSome = ({ removals, requests, storage, term }: State) =>
  Effect.suspend(() => {
    const batch = Array.from(removals, ([jobUuid, id]) => ({ jobUuid, id })).slice(0, maxBatch)
    if (batch.length === 0) return Effect.succeed(true)
    return Effect.map(requests.promptly(Effect.as(storage.remove(term, batch), true)), (isDone) => {
      if (isDone !== true) return false
      for (const { id, jobUuid } of batch) if (removals.get(jobUuid) === id) removals.delete(jobUuid)
      return true
    })
  })

const notSaved = () =>
  new JobStoreError({ message: "The database does not respond, or another process leads the queue" })

const saveNow = Effect.fnUntraced(function* (state: State, batch: ReadonlyArray<ScheduledJob>) {
  const { jobs, removals, requests, storage, term, wantedLatch } = state
  // An old row of a job goes first: it does not belong to the new reservation.
  while (batch.some(({ id }) => removals.has(id))) {
    if (!(yield* removeSome(state))) return yield* new JobStoreError({ message: "The database does not respond" })
  }
  const ids = yield* requests.promptly(
    storage.save(
      term,
      batch.map((job) => ({ job }))
    )
  )
  if (ids === undefined) {
    // The database may have saved them all the same.
    for (const { id } of batch) removals.set(id, undefined)
    wantedLatch.openUnsafe()
    return yield* notSaved()
  }
  for (const [jobUuid, rowId] of ids) {
    const record = jobs.get(jobUuid)
    if (record === undefined) jobs.set(jobUuid, { ...unbegun, rowId })
    else record.rowId = rowId
  }
})

const save = (state: State, batch: ReadonlyArray<ScheduledJob>) => state.oneAtATime.withPermit(saveNow(state, batch))

/** A save that took effect late leaves a row that nobody knows. */
const tidy = ({ jobs, removals, requests, storage, term, wantedLatch }: State) =>
  Effect.suspend(() =>
    Effect.map(requests.promptly(storage.load(term)), (stored) => {
      for (const { id, job, phase } of stored ?? []) {
        if (phase === "saved" && jobs.get(job.id)?.rowId !== id) removals.set(job.id, id)
      }
      if (removals.size > 0) wantedLatch.openUnsafe()
    })
  )

const storeOf = (state: State): JobStore => {
  const { jobs, offers, removals, requests, storage, term, wantedLatch } = state
  return {
    load: () =>
      Effect.map(requests.persistently(storage.load(term)), (stored) =>
        stored.map((entry) => {
          jobs.set(entry.job.id, ledJobOf(entry))
          return toSavedJob(entry)
        })
      ),
    save: (_, saved) =>
      Effect.gen(function* () {
        const fresh = saved.filter(({ outcome }) => outcome === undefined).map(({ job }) => job)
        if (fresh.length > 0) yield* save(state, fresh)
        const ended = saved.filter(({ job, outcome }) => outcome !== undefined && jobs.get(job.id)?.hasOutcome !== true)
        if (ended.length === 0) return
        const entries = ended.map(({ job, outcome }) => ({ job, finish: outcome }))
        if ((yield* requests.promptly(storage.save(term, entries))) === undefined) return yield* notSaved()
      }),
    remove: (_, jobUuids) =>
      Effect.sync(() => {
        for (const jobUuid of jobUuids) {
          removals.set(jobUuid, jobs.get(jobUuid)?.rowId)
          jobs.delete(jobUuid)
          offers.delete(jobUuid)
        }
        wantedLatch.openUnsafe()
      })
  }
}

const unbegun = { hadBegun: false, hasOutcome: false, after: 0, waiting: undefined }

const ledJobOf = ({ id, outcome, phase }: StoredJob): LedJob => ({
  ...unbegun,
  rowId: id,
  hadBegun: phase === "running" || phase === "ended",
  hasOutcome: outcome !== undefined
})

/** A job that has finished is not run again: its outcome is sent. */
const toSavedJob = ({ finish, job, outcome }: StoredJob): SavedJob => ({
  job,
  outcome: finish ?? (outcome?._tag === "Finished" ? outcome : undefined)
})
