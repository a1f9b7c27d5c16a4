/**
 * Reserves any number of jobs, and renews reservations until they are released.
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
import { isolate, mayBeOneJob, mayBeOneJobAfterAll } from "./internal/isolate.ts"
import * as Check from "./internal/options.ts"
import * as RetryPolicy from "./RetryPolicy.ts"
import * as StacksClient from "./StacksClient.ts"
import type { InvalidOptions, StacksError } from "./StacksError.ts"
import { MaxBatchSize } from "./StacksSchema.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Options of {@link reserve}.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReserveOptions {
  readonly stackKey: string
  /** Any number of jobs. */
  readonly jobUuids: ReadonlyArray<string>
  /** When the reservations lapse, from 1 second to 1 hour. Default: the service's, 15 minutes. */
  readonly reservationExpiry?: Duration.Input | undefined
  /** How many requests of 1000 jobs may be in flight. At least 1, default 5. */
  readonly concurrency?: number | undefined
}

/**
 * The jobs of a request that failed. They may be reserved or not.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailedChunk {
  readonly jobUuids: ReadonlyArray<string>
  readonly error: StacksError
}

/**
 * The result of {@link reserve}. Each job is in exactly one of the lists.
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
 * Reservations that are being renewed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Renewal {
  /** Starts to renew a job's reservation. The job must be reserved. */
  readonly hold: (jobUuid: string) => Effect.Effect<void>
  /** Stops renewing a job, because an agent has acquired it or it is finished. Then its reservation lapses. */
  readonly release: (jobUuid: string) => Effect.Effect<void>
  /** The jobs that are renewed. */
  readonly held: Effect.Effect<ReadonlySet<string>>
  /**
   * The jobs that could not be renewed, because an agent has acquired them, or they were canceled or lost. They are no longer
   * renewed. Ends when the scope closes.
   */
  readonly lost: Stream.Stream<string>
}

/**
 * Options of {@link renewing}.
 *
 * @since 0.1.0
 * @category models
 */
export interface RenewOptions {
  readonly stackKey: string
  /** The jobs to renew from the start. Default none. */
  readonly jobUuids?: ReadonlyArray<string> | undefined
  /** How long each renewal extends the reservations, from 1 second to 1 hour. Default 15 minutes. */
  readonly reservationExpiry?: Duration.Input | undefined
}

// -----------------------------------------------------------------------------
// Accessors
// -----------------------------------------------------------------------------

/**
 * Reserves any number of jobs, in parallel requests of 1000.
 *
 * **Details**
 *
 * A failed request does not affect the others: its jobs are in `failed`, with the error. A request that the service refuses because
 * of one job is divided until that job is alone, so that the others are reserved. The effect fails only for invalid options, with
 * `InvalidOptions`.
 *
 * **Example** (Reserving jobs and logging failures)
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
 * @category accessors
 */
export const reserve = Effect.fnUntraced(function* (
  options: ReserveOptions
): Effect.fn.Return<ReserveResult, InvalidOptions, StacksClient.StacksClient> {
  if (options.concurrency !== undefined) yield* Check.count("concurrency", options.concurrency, 1)
  if (options.reservationExpiry !== undefined) yield* checkExpiry(options.reservationExpiry)
  return yield* reserveAll(options)
})

/** `isDivisible`: whether a failure of a request may be one job's fault. By default that of a request which has had its retries. */
const reserveAll = Effect.fnUntraced(function* (
  { concurrency = 5, jobUuids, reservationExpiry, stackKey }: ReserveOptions,
  isDivisible: (error: StacksError) => boolean = mayBeOneJobAfterAll
): Effect.fn.Return<ReserveResult, never, StacksClient.StacksClient> {
  const client = yield* StacksClient.StacksClient
  const reserved: Array<string> = []
  const notReserved: Array<string> = []
  const failed: Array<FailedChunk> = []
  const request = (jobUuids: ReadonlyArray<string>) =>
    client.batchReserveJobs({ stackKey, jobUuids, reservationExpiry })
  const once = (jobUuids: ReadonlyArray<string>) => RetryPolicy.withPolicy(request(jobUuids), RetryPolicy.none)
  const onAnswer = (_: ReadonlyArray<string>, answer: Omit<ReserveResult, "failed">) =>
    Effect.sync(() => {
      reserved.push(...answer.reserved)
      notReserved.push(...answer.notReserved)
    })
  const reserveChunk = (jobUuids: ReadonlyArray<string>) =>
    Effect.matchEffect(request(jobUuids), {
      onSuccess: (answer) => onAnswer(jobUuids, answer),
      onFailure: (error) =>
        isDivisible(error)
          ? Effect.map(isolate({ items: jobUuids, error, request: once, onAnswer, isDivisible }), (isolated) => {
              for (const { error, items } of isolated.failed) failed.push({ jobUuids: items, error })
              for (const { error, item } of isolated.offenders) failed.push({ jobUuids: [item], error })
            })
          : Effect.sync(() => void failed.push({ jobUuids, error }))
    })
  yield* Effect.forEach(Arr.chunksOf(Arr.dedupe(jobUuids), MaxBatchSize), reserveChunk, { concurrency, discard: true })
  return { reserved, notReserved, failed }
})

/** After so many failed renewals in a row, one job may be the cause. */
const maxFailures = 3

const checkExpiry = (reservationExpiry: Duration.Input) =>
  Check.duration("reservationExpiry", reservationExpiry, { min: Check.second, max: Check.hour })

/**
 * Renews reservations while the scope is open.
 *
 * **Details**
 *
 * The interval is a quarter of the expiry, so three renewals in a row may fail before a reservation lapses. A renewal that fails, or
 * has no response within the interval, is retried after a tenth of the interval.
 *
 * **Gotchas**
 *
 * The API can't cancel reservations. When the scope closes, they lapse at the end of their last renewal.
 *
 * @since 0.1.0
 * @category accessors
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
  /** Renewals in a row that failed. */
  let failures = 0

  const renew = Effect.gen(function* () {
    const asked = Array.from(held)
    // The next renewal is the retry.
    const answer = yield* reserveAll({ stackKey, jobUuids: asked, reservationExpiry }, (error) =>
      failures + 1 >= maxFailures ? mayBeOneJobAfterAll(error) : mayBeOneJob(error)
    ).pipe(RetryPolicy.withPolicy(RetryPolicy.none), Effect.timeoutOption(interval))
    if (Option.isNone(answer)) {
      yield* Effect.logWarning(`The reservations of ${asked.length} jobs could not be renewed: no response`)
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
      failures = hasFailed ? failures + 1 : 0
    }
  }).pipe(Effect.forkScoped)

  return {
    hold: (jobUuid) => Effect.sync(() => void held.add(jobUuid)),
    release: (jobUuid) => Effect.sync(() => void held.delete(jobUuid)),
    held: Effect.sync(() => new Set(held)),
    lost: Stream.fromQueue(lost)
  }
})
