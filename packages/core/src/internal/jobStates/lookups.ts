/** What concurrent callers share: a request for their lookups, and a poll for all watchers. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as RateLimit from "../../RateLimit.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import type { JobState } from "../../StacksSchema.ts"
import * as Batcher from "../batcher.ts"
import { readStates } from "./readStates.ts"
import * as StatePoll from "./statePoll.ts"

/** Callers share the same method for the same stack under the same policies. */
interface SharedLookups {
  readonly method: StacksClient.Service["getJobStates"]
  readonly stackKey: string
  readonly retryPolicy: RetryPolicy.Policy | undefined
  readonly rateLimit: RateLimit.Limiter | undefined
  readonly batcher: Batcher.Batcher<JobState | undefined, StacksError>
  readonly poll: StatePoll.StatePoll
  /** Pending lookups and watchers. */
  callers: number
}

/** Each entry is removed with its last caller. */
const Lookups: Context.Reference<Set<SharedLookups>> = Context.Reference("@stacksapi/core/internal/jobStates/Lookups", {
  defaultValue: () => new Set<SharedLookups>()
})

const acquire = (client: StacksClient.Service, stackKey: string): Effect.Effect<SharedLookups> =>
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.sync(() => {
      const all = Context.get(context, Lookups)
      const method = client.getJobStates
      const retryPolicy = Context.getOrUndefined(context, RetryPolicy.RetryPolicy)
      const rateLimit = Context.getOrUndefined(context, RateLimit.RateLimit)
      for (const shared of all) {
        if (
          shared.method === method &&
          shared.stackKey === stackKey &&
          shared.retryPolicy === retryPolicy &&
          shared.rateLimit === rateLimit
        ) {
          shared.callers++
          return shared
        }
      }
      const created: SharedLookups = {
        method,
        stackKey,
        retryPolicy,
        rateLimit,
        batcher: Batcher.make(Number.POSITIVE_INFINITY, context, lookUpAll(client, stackKey)),
        poll: StatePoll.make(client, stackKey),
        callers: 1
      }
      all.add(created)
      return created
    })
  )

const release = (shared: SharedLookups): Effect.Effect<void> =>
  Effect.map(Lookups, (all) => {
    shared.callers--
    if (shared.callers === 0) all.delete(shared)
  })

const lookUpAll =
  (client: StacksClient.Service, stackKey: string) =>
  (
    jobUuids: ReadonlyArray<string>
  ): Effect.Effect<(jobUuid: string) => Effect.Effect<JobState | undefined, StacksError>> =>
    Effect.map(readStates(client, stackKey, jobUuids), ({ failed, offenders, states }) => {
      const failures = new Map(offenders.map(({ error, item }) => [item, error]))
      for (const { error, items } of failed) for (const jobUuid of items) failures.set(jobUuid, error)
      return (jobUuid) => {
        const failure = failures.get(jobUuid)
        return failure === undefined ? Effect.succeed(states.get(jobUuid)) : Effect.fail(failure)
      }
    })

/** The state of a job. Concurrent lookups are batched. */
export const lookUp = (
  client: StacksClient.Service,
  stackKey: string,
  jobUuid: string
): Effect.Effect<JobState | undefined, StacksError> =>
  Effect.acquireUseRelease(acquire(client, stackKey), ({ batcher }) => batcher.ask(jobUuid), release)

/** The poll for all watchers of a stack's jobs. It is shared until the scope closes. */
export const pollOf = (client: StacksClient.Service, stackKey: string) =>
  Effect.map(Effect.acquireRelease(acquire(client, stackKey), release), ({ poll }) => poll)
