/** Acquisition tokens: requested for many jobs at once, and again when they have expired. */
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import * as Batcher from "../batcher.ts"
import { isolate, mayBeOneJob, mayBeOneJobAfterAll } from "../isolate.ts"
import type { Registration } from "./registration.ts"
import { requestTimeout, within } from "./requestTimeout.ts"
import { readAgain } from "./retryPolicies.ts"
import type { Settings } from "./settings.ts"

/** The result of requesting a job's token. */
export type TokenAnswer = Data.TaggedEnum<{
  /** `validUntil` in monotonic milliseconds. */
  Issued: { readonly token: Redacted.Redacted; readonly validUntil: number }
  /** The stack no longer has the job. */
  NotIssued: {}
  /** The response does not mention the job. */
  Missing: {}
  /** `isOffender`: the request failed because of this job. */
  Failed: { readonly error: StacksError; readonly isOffender: boolean }
}>

export const TokenAnswer = Data.taggedEnum<TokenAnswer>()

export type Tokens = Batcher.Batcher<TokenAnswer, never>

/** Several at a time, so that a request without a response does not delay the others. */
const maxRequests = 4

/** `now` gives monotonic milliseconds, `serviceNow` those of the service's clock. */
export const make = (
  client: StacksClient.Service,
  { key: stackKey, reservationExpiry: tokenLifetime }: Settings,
  registration: Registration,
  context: Context.Context<never>,
  now: () => number,
  serviceNow: () => number,
  /** How many requests of the stack have succeeded. */
  successes: () => number
): Tokens => {
  /** Jobs that made their requests fail. They are requested alone. */
  const knownOffenders = new Set<string>()
  const request = (jobUuids: ReadonlyArray<string>) =>
    Effect.suspend(() => {
      const askedAt = now()
      return client.issueJobAcquisitionTokens({ stackKey, jobUuids, tokenLifetime }).pipe(
        within(requestTimeout),
        registration.withReRegister,
        readAgain,
        Effect.map((answer) => ({ ...answer, askedAt, serviceTime: serviceNow() }))
      )
    })

  const ask = Effect.fnUntraced(function* (jobUuids: ReadonlyArray<string>) {
    const answers = new Map<string, TokenAnswer>()
    const successesBefore = successes()
    /** Whether one of the request's jobs may be the cause, because the request has failed several times while others succeeded. */
    const isDivisible = (error: StacksError) =>
      mayBeOneJob(error) || (mayBeOneJobAfterAll(error) && (!error.isRetryable || successes() > successesBefore))
    const onAnswer = (
      _: ReadonlyArray<string>,
      { askedAt, notIssued, serviceTime, tokens }: Effect.Success<ReturnType<typeof request>>
    ) =>
      Effect.sync(() => {
        for (const jobUuid of notIssued) answers.set(jobUuid, TokenAnswer.NotIssued())
        for (const { expiresAt, jobUuid, token } of tokens) {
          // With an empty token an agent would use another token that it finds.
          if (Redacted.value(token).trim() === "") continue
          const validFor = lifetimeOf(expiresAt, serviceTime, tokenLifetime)
          answers.set(jobUuid, TokenAnswer.Issued({ token, validUntil: askedAt + validFor }))
        }
      })
    yield* Effect.matchEffect(request(jobUuids), {
      onSuccess: (answer) => onAnswer(jobUuids, answer),
      onFailure: Effect.fnUntraced(function* (error) {
        const once = (jobUuids: ReadonlyArray<string>) => RetryPolicy.withPolicy(request(jobUuids), RetryPolicy.none)
        const { failed, offenders } = isDivisible(error)
          ? yield* isolate({ items: jobUuids, error, request: once, onAnswer, isDivisible })
          : { failed: [{ items: jobUuids, error }], offenders: [] }
        for (const { error, item: jobUuid } of offenders) {
          knownOffenders.add(jobUuid)
          answers.set(jobUuid, TokenAnswer.Failed({ error, isOffender: true }))
        }
        for (const { error, items } of failed) {
          for (const jobUuid of items) answers.set(jobUuid, TokenAnswer.Failed({ error, isOffender: false }))
        }
      })
    })
    for (const jobUuid of answers.keys()) if (answers.get(jobUuid)?._tag !== "Failed") knownOffenders.delete(jobUuid)
    return (jobUuid: string) => Effect.succeed(answers.get(jobUuid) ?? TokenAnswer.Missing())
  })

  const batcher = Batcher.make(maxRequests, context, ask)
  const askAlone = (jobUuid: string) =>
    Effect.provideContext(
      Effect.flatMap(ask([jobUuid]), (answerOf) => answerOf(jobUuid)),
      context
    )
  return { ask: (jobUuid) => (knownOffenders.has(jobUuid) ? askAlone(jobUuid) : batcher.ask(jobUuid)) }
}

/** How many milliseconds a token is valid, by the service's clock, counted from before its request. */
const lifetimeOf = (expiresAt: DateTime.Utc, serviceTime: number, requested: Duration.Duration): number =>
  Math.min(Duration.toMillis(requested), DateTime.toEpochMillis(expiresAt) - serviceTime)
