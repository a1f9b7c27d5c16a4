/** What the callers of one client share when they ask for states: batches of lookups, and one poll for each stack. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import type * as StacksClient from "../StacksClient.ts"
import type { StacksError } from "../StacksError.ts"
import { type JobState, MaxBatchSize } from "../StacksSchema.ts"
import { stateIn } from "./stateIn.ts"
import * as StatePoll from "./statePoll.ts"

/** The state of a job; lookups that are made together travel together. */
export const lookUp = (
  client: StacksClient.Service,
  stackKey: string,
  jobUuid: string
): Effect.Effect<JobState | undefined, StacksError> =>
  Effect.request(new GetState({ stackKey, jobUuid }), sharedBy(client).resolver)

/** The poll for everybody who watches jobs of a stack. */
export const pollOf = (client: StacksClient.Service, stackKey: string): StatePoll.StatePoll =>
  sharedBy(client).pollOf(stackKey)

class GetState extends Request.Class<
  { readonly stackKey: string; readonly jobUuid: string },
  JobState | undefined,
  StacksError
> {}

interface Shared {
  readonly resolver: RequestResolver.RequestResolver<GetState>
  readonly pollOf: (stackKey: string) => StatePoll.StatePoll
}

/** Batches and polls belong to the client that makes their requests, and go with it. */
const shared = new WeakMap<StacksClient.Service, Shared>()

const sharedBy = (client: StacksClient.Service): Shared => {
  const existing = shared.get(client)
  if (existing !== undefined) return existing
  const polls = new Map<string, StatePoll.StatePoll>()
  const made: Shared = {
    resolver: makeResolver(client),
    pollOf: (stackKey) => {
      let poll = polls.get(stackKey)
      if (poll === undefined) {
        poll = StatePoll.make(client, stackKey)
        polls.set(stackKey, poll)
      }
      return poll
    }
  }
  shared.set(client, made)
  return made
}

const makeResolver = (client: StacksClient.Service): RequestResolver.RequestResolver<GetState> =>
  RequestResolver.makeGrouped<GetState, string>({
    key: ({ request }) => request.stackKey,
    resolver: (entries, stackKey) =>
      Effect.map(
        client.getJobStates({
          stackKey,
          jobUuids: Array.from(new Set(entries.map(({ request }) => request.jobUuid)))
        }),
        ({ states }) => {
          for (const entry of entries) entry.completeUnsafe(Exit.succeed(stateIn(states, entry.request.jobUuid)))
        }
      )
  }).pipe(RequestResolver.batchN(MaxBatchSize))
