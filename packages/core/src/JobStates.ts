/**
 * The states of jobs, looked up together: single lookups that are made at the same time travel as one request, and everybody
 * who watches jobs of one stack shares one poll.
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
 * How often the states of watched jobs are asked for: 5 seconds unless set otherwise, at least 1 second. With less, {@link watch}
 * fails with `InvalidRequest`.
 *
 * **Gotchas**
 *
 * Watchers of one stack share a poll; it takes the interval of the watcher who came first.
 *
 * @since 0.1.0
 * @category references
 */
export const PollInterval: Context.Reference<Duration.Input> = Context.Reference(
  "@stacksapi/core/JobStates/PollInterval",
  { defaultValue: (): Duration.Input => "5 seconds" }
)

/**
 * The state of a job; undefined for an id that the service does not know. States that are newer than this library are passed
 * through as they are.
 *
 * **Details**
 *
 * Lookups that are made together (in fibers that run at the same time) travel as one request for at most 1000 jobs; more
 * make more requests. 10,000 lookups cost 10 requests.
 *
 * **Example** (Many lookups, one request)
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
 * @category lookups
 */
export const get = (
  stackKey: string,
  jobUuid: string
): Effect.Effect<JobState | undefined, StacksError, StacksClient.StacksClient> =>
  Effect.flatMap(StacksClient.StacksClient, (client) => lookUp(client, stackKey, jobUuid))

/**
 * The state of a job, and every change of it: first the current state (undefined for an unknown id), then the state whenever
 * a poll finds another one. Ends after a state that no job leaves, such as `finished` or `canceled`.
 *
 * **Details**
 *
 * One poll serves all watchers of a stack, in requests of at most 1000 jobs, every {@link PollInterval}; it runs only while
 * somebody watches. Retryable failures are survived: the next poll is the retry. A fatal failure fails the streams.
 *
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
          let told: { readonly state: JobState | undefined } | undefined
          const onState = (state: JobState | undefined) => {
            if (told !== undefined && told.state === state) return
            told = { state }
            Queue.offerUnsafe(changes, state)
            if (state !== undefined && isFinal(state)) Queue.endUnsafe(changes)
          }
          const onFatal = (error: StacksError) => Queue.failCauseUnsafe(changes, Cause.fail(error))
          const poll = yield* pollOf(client, stackKey)
          yield* poll.join({ jobUuid, onState, onFatal }, interval)
          // Where this answer is missed, the poll brings it.
          const first = yield* Effect.result(lookUp(client, stackKey, jobUuid))
          if (Result.isSuccess(first)) onState(first.success)
          else if (!first.failure.isRetryable) return yield* first.failure
        })
      )
    })
  )
