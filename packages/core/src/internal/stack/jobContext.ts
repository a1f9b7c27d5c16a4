/** The context of a runner: its job, and effects that request data about it. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type JobContext, JobRunnerError } from "../../JobRunner.ts"
import { StackEvent } from "../../StackEvent.ts"
import type { StacksError } from "../../StacksError.ts"
import { isAgentOwned } from "../../StacksSchema.ts"
import { mayBeOneJob } from "../isolate.ts"
import type { JobRecord, Run } from "./jobTable.ts"
import { readAgain } from "./retryPolicies.ts"
import { isNotFound } from "./serviceErrors.ts"
import type { StackState } from "./stackState.ts"
import type { TokenAnswer } from "./tokens.ts"

/** The failures of `details` and `acquisitionToken` in one run. A runner that fails with one of them has not started its job. */
export interface ServiceTrouble {
  readonly failures: Map<unknown, { readonly isOffender: boolean }>
  /** Failures which mean that another stack may have the job. */
  readonly notIssued: Set<unknown>
}

/** A token that expires within this time is not returned, because an agent takes a while to start. */
const tokenMargin = Duration.toMillis("10 seconds")

export const makeJobContext = (
  state: StackState,
  record: JobRecord,
  run: Run
): { readonly context: JobContext; readonly trouble: ServiceTrouble } => {
  const { notifications, settings, states } = state.dependencies
  const { job } = record
  const trouble: ServiceTrouble = { failures: new Map(), notIssued: new Set() }
  const details = once(
    Effect.suspend(() => readDetails(state, record)),
    (error) => trouble.failures.set(error, { isOffender: isAboutJob(error) })
  )
  return {
    trouble,
    context: {
      job,
      stackKey: settings.key,
      queueKey: settings.queueKey,
      details,
      acquisitionToken: acquisitionToken(state, record, trouble),
      issueToken: Effect.map(requestToken(state, record, trouble), ({ token, validUntil }) => ({
        token,
        lifetime: Duration.millis(Math.max(0, validUntil - state.now()))
      })),
      requests: record.requests,
      state: Effect.tap(states.ask(job.id), (jobState) =>
        Effect.sync(() => {
          if (jobState !== undefined && isAgentOwned(jobState)) run.hasAgent = true
        })
      ),
      stopRequested: Effect.map(Deferred.await(run.stopRequested), (first) => run.stopReason ?? first),
      notify: (text) => notifications.notify(job.id, text)
    }
  }
}

/** Runs an effect at the first use and keeps its value. Failures, and the interruption of the first caller, are not kept. */
const once = <A, E>(effect: Effect.Effect<A, E>, onFailure: (error: E) => void): Effect.Effect<A, E> => {
  let running: Deferred.Deferred<Exit.Exit<A, E> | undefined> | undefined
  const start = Effect.suspend(() => {
    const answer = Deferred.makeUnsafe<Exit.Exit<A, E> | undefined>()
    running = answer
    return effect.pipe(
      Effect.tapError((error) => Effect.sync(() => onFailure(error))),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit)) running = undefined
          const isInterrupted = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
          Deferred.doneUnsafe(answer, Exit.succeed(isInterrupted ? undefined : exit))
        })
      )
    )
  })
  const use: Effect.Effect<A, E> = Effect.suspend(() =>
    running === undefined ? start : Effect.flatMap(Deferred.await(running), (exit) => (exit === undefined ? use : exit))
  )
  return use
}

const readDetails = (state: StackState, { job }: JobRecord) => {
  const { client, registration, settings } = state.dependencies
  return client.getJob({ stackKey: settings.key, jobUuid: job.id }).pipe(
    registration.withReRegister,
    readAgain,
    Effect.tapError((error) => reportOffender(state, job.id, error, isAboutJob(error)))
  )
}

/** Whether a failure of `getJob` is about its job. A 404 is: the stack has registered again by then. */
const isAboutJob = (error: StacksError): boolean => mayBeOneJob(error) || isNotFound(error)

type Issued = Extract<TokenAnswer, { readonly _tag: "Issued" }>

/** Returns the same token while it is valid, then a new one. */
const acquisitionToken = (
  state: StackState,
  record: JobRecord,
  trouble: ServiceTrouble
): JobContext["acquisitionToken"] => {
  let issued: Issued | undefined
  return Effect.suspend(() => {
    if (issued !== undefined && issued.validUntil - marginOf(state) > state.now()) return Effect.succeed(issued.token)
    return Effect.map(requestToken(state, record, trouble), (answer) => {
      issued = answer
      return answer.token
    })
  })
}

const requestToken = (
  state: StackState,
  { job }: JobRecord,
  trouble: ServiceTrouble
): Effect.Effect<Issued, StacksError | JobRunnerError> =>
  Effect.flatMap(
    Effect.suspend(() => state.dependencies.tokens.ask(job.id)),
    Effect.fnUntraced(function* (answer) {
      switch (answer._tag) {
        case "Issued": {
          if (answer.validUntil > state.now()) return answer
          const error = new JobRunnerError({ message: "The acquisition token has expired already", isRetryable: true })
          trouble.failures.set(error, { isOffender: true })
          return yield* error
        }
        case "NotIssued": {
          const error = new JobRunnerError({
            message: "The service issued no acquisition token: the job is not ours"
          })
          trouble.notIssued.add(error)
          return yield* error
        }
        case "Missing": {
          const error = new JobRunnerError({
            message: "The service's response has no acquisition token for the job",
            isRetryable: true
          })
          trouble.failures.set(error, { isOffender: true })
          return yield* error
        }
        case "Failed": {
          const { error, isOffender } = answer
          trouble.failures.set(error, { isOffender })
          yield* reportOffender(state, job.id, error, isOffender)
          return yield* Effect.fail(error)
        }
      }
    })
  )

const marginOf = (state: StackState): number =>
  Math.min(tokenMargin, Duration.toMillis(state.dependencies.settings.reservationExpiry) / 4)

const reportOffender = (
  state: StackState,
  jobUuid: string,
  error: StacksError,
  isOffender: boolean
): Effect.Effect<void> =>
  isOffender && state.isFirstReport(`${error.operation} ${jobUuid}`)
    ? state.dependencies.emit(StackEvent.RequestFailed({ error, jobUuid }))
    : Effect.void
