/**
 * Reservations of any number of jobs, and their renewal until the jobs are released.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isolate, mayBeOneJob } from "./internal/isolate.ts"
import * as Check from "./internal/options.ts"
import * as StacksClient from "./StacksClient.ts"
import type { InvalidOptions, StacksError } from "./StacksError.ts"
import { MaxBatchSize } from "./StacksSchema.ts"

/**
 * Which jobs to reserve, and for how long.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReserveOptions {
  readonly stackKey: string
  /** Any number of jobs. */
  readonly jobUuids: ReadonlyArray<string>
  /** When the reservations lapse, 1 second to 1 hour from now. Default: the service's, 15 minutes. */
  readonly reservationExpiry?: Duration.Input | undefined
  /** How many requests of 1000 jobs may be under way at once, at least 1. Default 5. */
  readonly concurrency?: number | undefined
}

/**
 * A part of the jobs whose request failed: whether they are reserved is not known.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailedChunk {
  readonly jobUuids: ReadonlyArray<string>
  readonly error: StacksError
}

/**
 * What became of every job that was to be reserved: each is in exactly one of the three.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReserveResult {
  readonly reserved: ReadonlyArray<string>
  readonly notReserved: ReadonlyArray<string>
  readonly failed: ReadonlyArray<FailedChunk>
}

/**
 * Reserves any number of jobs, in parallel requests of 1000. A request that fails loses nothing of the others: its jobs are
 * reported in `failed`, with the error. A request that the service refuses because of one job is divided until that job is alone,
 * so that the others are reserved. Only options that can't be right fail all, with `InvalidOptions`.
 *
 * **Example** (Reserving what there is)
 *
 * ```ts
 * import * as Reservations from "@stacksapi/core/Reservations"
 * import * as Effect from "effect/Effect"
 *
 * const reserve = (jobUuids: ReadonlyArray<string>) =>
 *   Effect.gen(function* () {
 *     const { failed, reserved } = yield* Reservations.reserve({ stackKey: "my-stack", jobUuids })
 *     for (const { error } of failed) yield* Effect.logWarning(error.message)
 *     return reserved
 *   })
 * ```
 *
 * @since 0.1.0
 * @category reservations
 */
export const reserve = Effect.fnUntraced(function* (
  options: ReserveOptions
): Effect.fn.Return<ReserveResult, InvalidOptions, StacksClient.StacksClient> {
  if (options.concurrency !== undefined) yield* Check.count("concurrency", options.concurrency, 1)
  if (options.reservationExpiry !== undefined) yield* checkExpiry(options.reservationExpiry)
  return yield* reserveAll(options)
})

const reserveAll = Effect.fnUntraced(function* ({
  concurrency = 5,
  jobUuids,
  reservationExpiry,
  stackKey
}: ReserveOptions): Effect.fn.Return<ReserveResult, never, StacksClient.StacksClient> {
  const client = yield* StacksClient.StacksClient
  const reserved: Array<string> = []
  const notReserved: Array<string> = []
  const failed: Array<FailedChunk> = []
  const request = (jobUuids: ReadonlyArray<string>) =>
    client.batchReserveJobs({ stackKey, jobUuids, reservationExpiry })
  const onAnswer = (_: ReadonlyArray<string>, answer: Omit<ReserveResult, "failed">) =>
    Effect.sync(() => {
      reserved.push(...answer.reserved)
      notReserved.push(...answer.notReserved)
    })
  const reserveChunk = (jobUuids: ReadonlyArray<string>) =>
    Effect.matchEffect(request(jobUuids), {
      onSuccess: (answer) => onAnswer(jobUuids, answer),
      onFailure: (error) =>
        mayBeOneJob(error)
          ? Effect.map(isolate({ items: jobUuids, error, request, onAnswer }), (isolated) => {
              for (const { error, items } of isolated.failed) failed.push({ jobUuids: items, error })
              for (const { error, item } of isolated.offenders) failed.push({ jobUuids: [item], error })
            })
          : Effect.sync(() => void failed.push({ jobUuids, error }))
    })
  yield* Effect.forEach(Arr.chunksOf(Arr.dedupe(jobUuids), MaxBatchSize), reserveChunk, { concurrency, discard: true })
  return { reserved, notReserved, failed }
})

const checkExpiry = (reservationExpiry: Duration.Input) =>
  Check.duration("reservationExpiry", reservationExpiry, { min: Check.second, max: Check.hour })

/**
 * Reservations that are being renewed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Renewal {
  /** Renews this job's reservation too, from now on. It must be reserved already. */
  readonly hold: (jobUuid: string) => Effect.Effect<void>
  /** Renews it no more: an agent has the job, or it is finished. Without renewal the reservation lapses by itself. */
  readonly release: (jobUuid: string) => Effect.Effect<void>
  /** The jobs that are held. */
  readonly held: Effect.Effect<ReadonlySet<string>>
  /**
   * The jobs whose renewal came back not reserved: they were taken by an agent, canceled, or lost. They are no longer held.
   * Ends when the scope closes.
   */
  readonly lost: Stream.Stream<string>
}

/**
 * Which reservations to renew, and how.
 *
 * @since 0.1.0
 * @category models
 */
export interface RenewOptions {
  readonly stackKey: string
  /** Jobs to hold from the start. Default none. */
  readonly jobUuids?: ReadonlyArray<string> | undefined
  /** For how long each renewal extends the reservations, from 1 second to 1 hour. Default 15 minutes. */
  readonly reservationExpiry?: Duration.Input | undefined
}

/**
 * Renews reservations while the scope is open: every quarter of the expiry, so that three renewals in a row may fail before
 * one lapses. A renewal that fails, or has no answer after that interval, is tried again at a tenth of it.
 *
 * **Gotchas**
 *
 * There is no un-reserve: what is held when the scope closes lapses at the end of its last extension.
 *
 * @since 0.1.0
 * @category reservations
 */
export const renewing = Effect.fnUntraced(function* ({
  jobUuids = [],
  reservationExpiry = "15 minutes",
  stackKey
}: RenewOptions): Effect.fn.Return<Renewal, InvalidOptions, StacksClient.StacksClient | Scope.Scope> {
  const held = new Set(jobUuids)
  const lost = yield* Effect.acquireRelease(Queue.unbounded<string, Cause.Done>(), Queue.end)
  const interval = Duration.times(yield* checkExpiry(reservationExpiry), 0.25)
  const soon = Duration.times(interval, 0.1)

  const renew = Effect.gen(function* () {
    const asked = Array.from(held)
    const answer = yield* Effect.timeoutOption(reserveAll({ stackKey, jobUuids: asked, reservationExpiry }), interval)
    if (Option.isNone(answer)) {
      yield* Effect.logWarning(`The reservations of ${asked.length} jobs could not be renewed: there was no answer`)
      return true
    }
    const { failed, notReserved } = answer.value
    const gone = notReserved.filter((jobUuid) => held.delete(jobUuid))
    Queue.offerAllUnsafe(lost, gone)
    for (const { error, jobUuids } of failed) {
      yield* Effect.logWarning(`The reservations of ${jobUuids.length} jobs could not be renewed: ${error.message}`)
    }
    return failed.length > 0
  })

  yield* Effect.gen(function* () {
    let hasFailed = false
    while (true) {
      yield* Effect.sleep(hasFailed ? soon : interval)
      hasFailed = yield* renew
    }
  }).pipe(Effect.forkScoped)

  return {
    hold: (jobUuid) => Effect.sync(() => void held.add(jobUuid)),
    release: (jobUuid) => Effect.sync(() => void held.delete(jobUuid)),
    held: Effect.sync(() => new Set(held)),
    lost: Stream.fromQueue(lost)
  }
})
