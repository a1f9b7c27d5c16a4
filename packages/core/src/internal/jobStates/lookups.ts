/** What callers who ask for states at the same time share: one request for many lookups, and one poll for all watchers. */
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

/** Callers share what they would do in the same way: the same method for the same stack, under the same policies. */
interface Shared {
  readonly method: StacksClient.Service["getJobStates"]
  readonly stackKey: string
  readonly retryPolicy: RetryPolicy.Policy | undefined
  readonly rateLimit: RateLimit.Limiter | undefined
  readonly batcher: Batcher.Batcher<JobState | undefined, StacksError>
  readonly poll: StatePoll.StatePoll
  /** Lookups that wait, and watchers. */
  callers: number
}

/** What is shared now. It is forgotten with its last caller. */
const Lookups: Context.Reference<Set<Shared>> = Context.Reference("@stacksapi/core/internal/jobStates/Lookups", {
  defaultValue: () => new Set<Shared>()
})

const enter = (client: StacksClient.Service, stackKey: string): Effect.Effect<Shared> =>
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
      const made: Shared = {
        method,
        stackKey,
        retryPolicy,
        rateLimit,
        batcher: Batcher.make(Number.POSITIVE_INFINITY, context, lookUpAll(client, stackKey)),
        poll: StatePoll.make(client, stackKey),
        callers: 1
      }
      all.add(made)
      return made
    })
  )

const leave = (shared: Shared): Effect.Effect<void> =>
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

/** The state of a job. Lookups that are made together travel together. */
export const lookUp = (
  client: StacksClient.Service,
  stackKey: string,
  jobUuid: string
): Effect.Effect<JobState | undefined, StacksError> =>
  Effect.acquireUseRelease(enter(client, stackKey), ({ batcher }) => batcher.ask(jobUuid), leave)

/** The poll for all watchers of a stack's jobs, for as long as the scope is open. */
export const pollOf = (client: StacksClient.Service, stackKey: string) =>
  Effect.map(Effect.acquireRelease(enter(client, stackKey), leave), ({ poll }) => poll)
