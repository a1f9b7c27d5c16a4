/** Acquisition tokens: requested for many jobs at once, and again when they have expired. */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import * as Batcher from "../batcher.ts"
import { isolate, mayBeOneJob } from "../isolate.ts"
import type { Registration } from "./registration.ts"
import { readAgain } from "./retryPolicies.ts"
import type { Settings } from "./settings.ts"

/** What the service says about a job's token. */
export type TokenAnswer = Data.TaggedEnum<{
  /** `validUntil` in monotonic milliseconds. */
  Issued: { readonly token: Redacted.Redacted; readonly validUntil: number }
  /** The job is not this stack's. */
  NotIssued: {}
  /** The response does not name the job. */
  Missing: {}
  /** `isOffender`: the request failed because of this job. */
  Failed: { readonly error: StacksError; readonly isOffender: boolean }
}>

export const TokenAnswer = Data.taggedEnum<TokenAnswer>()

export type Tokens = Batcher.Batcher<TokenAnswer, never>

/** Some at a time, so that a request without an answer does not hold up the others. */
const maxRequests = 4

/** `now` gives monotonic milliseconds. */
export const make = (
  client: StacksClient.Service,
  { key: stackKey, reservationExpiry: tokenLifetime }: Settings,
  registration: Registration,
  context: Context.Context<never>,
  now: () => number
): Tokens => {
  const request = (jobUuids: ReadonlyArray<string>) =>
    Effect.suspend(() => {
      const askedAt = now()
      return client.issueJobAcquisitionTokens({ stackKey, jobUuids, tokenLifetime }).pipe(
        registration.withReRegister,
        readAgain,
        StacksClient.withResponse,
        Effect.flatMap((response) =>
          Effect.map(Clock.currentTimeMillis, (wallTime) => ({ ...response, askedAt, wallTime }))
        )
      )
    })

  return Batcher.make(
    maxRequests,
    context,
    Effect.fnUntraced(function* (jobUuids) {
      const answers = new Map<string, TokenAnswer>()
      const onAnswer = (
        _: ReadonlyArray<string>,
        { askedAt, headers, value, wallTime }: Effect.Success<ReturnType<typeof request>>
      ) =>
        Effect.sync(() => {
          for (const jobUuid of value.notIssued) answers.set(jobUuid, TokenAnswer.NotIssued())
          for (const { expiresAt, jobUuid, token } of value.tokens) {
            const validFor = lifetimeOf(expiresAt, headers["date"], wallTime, tokenLifetime)
            answers.set(jobUuid, TokenAnswer.Issued({ token, validUntil: askedAt + validFor }))
          }
        })
      yield* Effect.matchEffect(request(jobUuids), {
        onSuccess: (answer) => onAnswer(jobUuids, answer),
        onFailure: Effect.fnUntraced(function* (error) {
          const { failed, offenders } = mayBeOneJob(error)
            ? yield* isolate({ items: jobUuids, error, request, onAnswer })
            : { failed: [{ items: jobUuids, error }], offenders: [] }
          for (const { error, item: jobUuid } of offenders) {
            answers.set(jobUuid, TokenAnswer.Failed({ error, isOffender: true }))
          }
          for (const { error, items } of failed) {
            for (const jobUuid of items) answers.set(jobUuid, TokenAnswer.Failed({ error, isOffender: false }))
          }
        })
      })
      return (jobUuid) => Effect.succeed(answers.get(jobUuid) ?? TokenAnswer.Missing())
    })
  )
}

/**
 * How many milliseconds a token is valid, from before it was requested. The service's clock says when it expires; its `Date`
 * header says what time it is there. Without that header this machine's clock has to do, where it can be right.
 */
const lifetimeOf = (
  expiresAt: DateTime.Utc,
  date: string | undefined,
  wallTime: number,
  requested: Duration.Duration
): number => {
  const longest = Duration.toMillis(requested)
  const serviceTime = Option.match(DateTime.make(date ?? ""), {
    onNone: () => wallTime,
    onSome: DateTime.toEpochMillis
  })
  const left = DateTime.toEpochMillis(expiresAt) - serviceTime
  return left > 0 ? Math.min(longest, left) : longest
}
