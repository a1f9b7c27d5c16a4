/**
 * The states of jobs. Concurrent lookups are batched into one request, and all watchers of a stack's jobs share one poll.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { lookUp, pollOf } from "./internal/jobStates/lookups.ts"
import * as Check from "./internal/options.ts"
import * as StacksClient from "./StacksClient.ts"
import type { StacksError } from "./StacksError.ts"
import { isFinal, type JobState } from "./StacksSchema.ts"

/**
 * How often {@link watch} polls the states of jobs. At least 1 second, default 5 seconds. With less, {@link watch} fails with
 * `InvalidRequest`.
 *
 * **Gotchas**
 *
 * Watchers of one stack share a poll, which uses the interval of the first watcher.
 *
 * @since 0.1.0
 * @category references
 */
export const PollInterval: Context.Reference<Duration.Input> = Context.Reference(
  "@stacksapi/core/JobStates/PollInterval",
  { defaultValue: (): Duration.Input => "5 seconds" }
)

/**
 * The state of a job; undefined for an unknown id. It may be a state that this library does not know.
 *
 * **Details**
 *
 * Concurrent lookups are batched into requests of up to 1000 jobs. 10,000 lookups take 10 requests.
 *
 * **Example** (Looking up many jobs in one request)
 *
 * ```ts
 * import * as JobStates from "@stacksapi/core/JobStates"
 * import * as Effect from "effect/Effect"
 *
 * const states = (jobUuids: ReadonlyArray<string>) =>
 *   Effect.forEach(jobUuids, (jobUuid) => JobStates.get("my-stack", jobUuid), { concurrency: "unbounded" })
 * ```
 *
 * @since 0.1.0
 * @category accessors
 */
export const get = (
  stackKey: string,
  jobUuid: string
): Effect.Effect<JobState | undefined, StacksError, StacksClient.StacksClient> =>
  Effect.flatMap(StacksClient.StacksClient, (client) => lookUp(client, stackKey, jobUuid))

/**
 * The current state of a job (undefined for an unknown id), then each change. Ends after a final state, such as `finished` or
 * `canceled`.
 *
 * **Details**
 *
 * One poll serves all watchers of a stack, every {@link PollInterval}, in requests of up to 1000 jobs. It runs only while there are
 * watchers. After a retryable failure, the next poll is the retry. A fatal failure fails the streams.
 *
 * @see {@link get} for a single lookup
 * @since 0.1.0
 * @category streams
 */
export const watch = (
  stackKey: string,
  jobUuid: string
): Stream.Stream<JobState | undefined, StacksError, StacksClient.StacksClient> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      const interval = yield* Check.ofRequest(
        "getJobStates",
        Check.duration("PollInterval", yield* PollInterval, { min: Check.second })
      )
      return Stream.callback<JobState | undefined, StacksError>((changes) =>
        Effect.gen(function* () {
          let last: { readonly state: JobState | undefined } | undefined
          const onState = (state: JobState | undefined) => {
            if (last !== undefined && last.state === state) return
            last = { state }
            Queue.offerUnsafe(changes, state)
            if (state !== undefined && isFinal(state)) Queue.endUnsafe(changes)
          }
          const onFatal = (error: StacksError) => Queue.failCauseUnsafe(changes, Cause.fail(error))
          const poll = yield* pollOf(client, stackKey)
          yield* poll.add({ jobUuid, onState, onFatal }, interval)
          // If this lookup fails, the poll emits the state.
          const first = yield* Effect.result(lookUp(client, stackKey, jobUuid))
          if (Result.isSuccess(first)) onState(first.success)
          else if (!first.failure.isRetryable) return yield* first.failure
        })
      )
    })
  )
