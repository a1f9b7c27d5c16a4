/** Where the jobs of a stack ask for their states and their acquisition tokens. */
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { JobRunnerError } from "../../JobRunner.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import type { JobState } from "../../StacksSchema.ts"
import { stateIn } from "../stateIn.ts"
import * as Desk from "./desk.ts"
import { isRefused } from "./fatal.ts"
import { readAgain } from "./patience.ts"
import type { Registration } from "./registration.ts"
import type { Settings } from "./settings.ts"

/** A job's state; undefined where it is not known, or the service won't tell. */
export type StateDesk = Desk.Desk<JobState | undefined, never>

export type TokenDesk = Desk.Desk<Redacted.Redacted, StacksError | JobRunnerError>

/** Some at a time, so that one without an answer does not hold up the others. */
const tokenRequests = 4

/** Has an answer or a refusal in the end, however long that takes. */
export const ofStates = (
  client: StacksClient.Service,
  { key: stackKey }: Settings,
  registration: Registration,
  patient: RetryPolicy.Policy
): Effect.Effect<StateDesk, never, Scope.Scope> =>
  Desk.make(1, (jobUuids) =>
    client.getJobStates({ stackKey, jobUuids }).pipe(
      RetryPolicy.withPolicy(patient),
      registration.rescue,
      readAgain,
      Effect.match({
        onFailure: (): Readonly<Record<string, JobState>> => ({}),
        onSuccess: ({ states }) => states
      }),
      Effect.map((states) => (jobUuid) => Effect.succeed(stateIn(states, jobUuid)))
    )
  )

const notIssued = /*#__PURE__*/ Effect.suspend(() =>
  Effect.fail(new JobRunnerError({ message: "The service issued no acquisition token: the job is not ours" }))
)

export const ofTokens = (
  client: StacksClient.Service,
  { key: stackKey, reservationExpiry: tokenLifetime }: Settings,
  registration: Registration
): Effect.Effect<TokenDesk, never, Scope.Scope> => {
  type Tokens = (jobUuid: string) => Effect.Effect<Redacted.Redacted, StacksError | JobRunnerError>

  const issue = (jobUuids: ReadonlyArray<string>): Effect.Effect<Tokens, StacksError> =>
    client.issueJobAcquisitionTokens({ stackKey, jobUuids, tokenLifetime }).pipe(
      registration.rescue,
      readAgain,
      Effect.map(({ tokens }) => {
        const issued = new Map(tokens.map(({ jobUuid, token }) => [jobUuid, token]))
        return (jobUuid) => {
          const token = issued.get(jobUuid)
          return token === undefined ? notIssued : Effect.succeed(token)
        }
      })
    )

  /** What is wrong with one job is not to be the others' end. */
  const issueOneByOne = (jobUuids: ReadonlyArray<string>): Effect.Effect<Tokens> =>
    Effect.forEach(jobUuids, (jobUuid) => Effect.exit(Effect.flatMap(issue([jobUuid]), (tokens) => tokens(jobUuid))), {
      concurrency: 5
    }).pipe(
      Effect.map((exits) => {
        const byJob = new Map(exits.map((exit, index) => [jobUuids[index], exit]))
        return (jobUuid) => byJob.get(jobUuid) ?? notIssued
      })
    )

  return Desk.make(tokenRequests, (jobUuids) =>
    jobUuids.length === 1 ? issue(jobUuids) : Effect.catchIf(issue(jobUuids), isRefused, () => issueOneByOne(jobUuids))
  )
}
