/** Runs an action for many jobs, one by one or in batches. */
import type * as StacksError from "@stacksapi/core/StacksError"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { describe, Failed } from "./failure.ts"
import * as Ids from "./ids.ts"
import { sayOfJob } from "./output.ts"

/** Enough to hide the latency, and far from the limits. */
const concurrency = 8

/**
 * Runs an action for each job of the arguments. A failure for one job is printed, and does not stop the others. `done` completes the
 * sentence "2 of 5 jobs were not …". A failure that would occur for all jobs, such as an invalid token, ends it at once.
 */
export const eachJob = Effect.fnUntraced(function* <R>(
  given: ReadonlyArray<string>,
  done: string,
  act: (jobUuid: string) => Effect.Effect<void, StacksError.StacksError, R>
) {
  let count = 0
  let failures = 0
  yield* Ids.stream(given).pipe(
    Stream.mapEffect(
      (id) => {
        count++
        return Effect.catch(act(id), (error) => {
          if (isOnlyJob(given) || isForAll(error)) return Effect.fail(error)
          failures++
          return sayOfJob(id, describe(error).message)
        })
      },
      { concurrency }
    ),
    Stream.runDrain
  )
  if (failures > 0) return yield* new Failed({ message: `${failures} of ${count} jobs were not ${done}` })
})

/**
 * Runs an action for batches of the jobs of the arguments. The action returns how many of its jobs were refused. `failed` completes the
 * sentence "2 of 5 jobs …".
 */
export const eachBatch = Effect.fnUntraced(function* <E, R>(
  given: ReadonlyArray<string>,
  failed: string,
  act: (jobUuids: ReadonlyArray<string>) => Effect.Effect<number, E, R>
) {
  let count = 0
  let refused = 0
  yield* Ids.stream(given).pipe(
    Stream.grouped(StacksSchema.MaxBatchSize),
    Stream.runForEach((jobUuids) =>
      Effect.map(act(jobUuids), (refusedNow) => {
        count += jobUuids.length
        refused += refusedNow
      })
    )
  )
  if (refused > 0) return yield* new Failed({ message: `${refused} of ${count} jobs ${failed}` })
})

/** The duration of a flag in seconds; undefined for the default. */
export const durationOf = (seconds: Option.Option<number>): Duration.Duration | undefined =>
  Option.getOrUndefined(Option.map(seconds, Duration.seconds))

/** Whether there is only one job, whose failure is the command's. */
const isOnlyJob = (given: ReadonlyArray<string>): boolean => given.length === 1 && given[0] !== "-"

const isForAll = (error: StacksError.StacksError): boolean =>
  error._tag === "TransportError" ||
  (error._tag === "ErrorResponse" && (error.reason._tag === "Unauthorized" || error.reason._tag === "Forbidden"))
