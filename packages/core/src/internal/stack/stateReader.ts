/** Reads the states of single jobs for the stages, in batches. */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import type { JobState } from "../../StacksSchema.ts"
import * as Batcher from "../batcher.ts"
import { mayBeOneJob } from "../isolate.ts"
import { readStates } from "../jobStates/readStates.ts"
import { RequestStreak } from "./requestStreak.ts"
import { requestTimeout, within } from "./requestTimeout.ts"
import { retryAfterOf } from "./serviceErrors.ts"
import type { StackState } from "./stackState.ts"

export interface StateReader {
  /** A job's state; undefined if the service does not know the job. Retries without a time limit. */
  readonly ask: (jobUuid: string) => Effect.Effect<JobState | undefined>
  /** The same with the time limit {@link answerTimeout}: none after that. For stages in which a job holds a slot. */
  readonly askBriefly: (jobUuid: string) => Effect.Effect<Option.Option<JobState | undefined>>
}

/** How long a job may hold its slot while its state can't be read. */
const answerTimeout = Duration.seconds(30)

const firstRetryMillis = 1000
const maxRetryMillis = 30_000

/** `getState` is a function, because the state needs the reader too. */
export const make = (getState: () => StackState, context: Context.Context<StacksClient.StacksClient>): StateReader => {
  let streak: RequestStreak | undefined

  const delay = (tries: number, error: StacksError) => {
    const own = Math.min(maxRetryMillis, firstRetryMillis * 1.5 ** Math.min(20, tries))
    const asked = retryAfterOf(error)
    return asked === undefined ? Effect.sleep(own) : Effect.andThen(Effect.sleep(own), Effect.sleep(asked))
  }

  /** Requests states until every job has one, or was found to make requests fail. */
  const ask = Effect.fnUntraced(function* (jobUuids: ReadonlyArray<string>) {
    const state = getState()
    streak ??= new RequestStreak(state)
    const current = streak
    const { client, emit, registration, settings } = state.dependencies
    const reRegistering: StacksClient.Service = {
      ...client,
      getJobStates: (request) => registration.withReRegister(within(requestTimeout)(client.getJobStates(request)))
    }
    const isDivisible = (error: StacksError) => mayBeOneJob(error) || current.isOneJobToBlame(error)
    const states = new Map<string, JobState | undefined>()
    const offenders = new Set<string>()
    let remaining = jobUuids
    for (let tries = 0; remaining.length > 0; tries++) {
      const result = yield* RetryPolicy.withPolicy(
        readStates(reRegistering, settings.key, remaining, isDivisible),
        RetryPolicy.none
      )
      for (const [jobUuid, jobState] of result.states) states.set(jobUuid, jobState)
      for (const { error, item: jobUuid } of result.offenders) {
        offenders.add(jobUuid)
        if (state.isFirstReport(`getJobStates ${jobUuid}`)) yield* emit(StackEvent.RequestFailed({ error, jobUuid }))
      }
      remaining = result.failed.flatMap(({ items }) => items)
      const [failure] = result.failed
      if (failure === undefined) {
        current.succeeded()
      } else {
        current.failed()
        yield* emit(StackEvent.RequestFailed({ error: failure.error }))
        yield* delay(tries, failure.error)
      }
    }
    return { offenders, states }
  })

  /** Requests the state of a job alone that made requests fail. */
  const askAlone = (jobUuid: string): Effect.Effect<JobState | undefined> =>
    Effect.sleep(maxRetryMillis).pipe(
      Effect.andThen(ask([jobUuid])),
      Effect.flatMap(({ offenders, states }) =>
        offenders.has(jobUuid) ? askAlone(jobUuid) : Effect.succeed(states.get(jobUuid))
      )
    )

  const batcher = Batcher.make<JobState | undefined, never>(1, context, (jobUuids) =>
    Effect.map(
      ask(jobUuids),
      ({ offenders, states }) =>
        (jobUuid) =>
          offenders.has(jobUuid) ? askAlone(jobUuid) : Effect.succeed(states.get(jobUuid))
    )
  )
  return {
    ask: batcher.ask,
    askBriefly: (jobUuid) => Effect.timeoutOption(batcher.ask(jobUuid), answerTimeout)
  }
}
