/**
 * Finds the item for which a request for many fails, so that the others proceed: a job, or a notification.
 *
 * The request is divided in two, again and again. One offender among 1000 items takes 20 requests.
 */
import * as Effect from "effect/Effect"
import type { StacksError } from "../StacksError.ts"

export interface Offender<T> {
  readonly item: T
  readonly error: StacksError
}

/** A part of the items whose request failed. */
export interface FailedPart<T> {
  readonly items: ReadonlyArray<T>
  readonly error: StacksError
}

export interface Isolated<T> {
  /** Items whose request failed though it named no other one. */
  readonly offenders: ReadonlyArray<Offender<T>>
  /** Items of which it is not known whether they make requests fail. */
  readonly failed: ReadonlyArray<FailedPart<T>>
}

export interface IsolateOptions<T, A, R> {
  /** What the request that has failed was about. */
  readonly items: ReadonlyArray<T>
  /** How it failed. */
  readonly error: StacksError
  /** Sends the request for a part of the items. */
  readonly request: (items: ReadonlyArray<T>) => Effect.Effect<A, StacksError, R>
  /** Called with each answer as it comes. */
  readonly onAnswer: (items: ReadonlyArray<T>, answer: A) => Effect.Effect<void, never, R>
  /** Whether a failure may be the fault of one item. Default {@link mayBeOneJob}. */
  readonly isDivisible?: (error: StacksError) => boolean
}

/** How many requests it takes at most. */
const maxRequests = 25
/** After so many requests of which none succeeds it is not one job that is to blame. */
const maxFailures = 8

/** Statuses in the 400s that say nothing about the jobs in a request. */
const aboutTheCaller = new Set([401, 403, 404, 407, 408, 425, 429])

/** Whether a failure may be the fault of one job: the service refuses what the request says. */
export const mayBeOneJob = (error: StacksError): boolean =>
  error._tag === "InvalidRequest" ||
  (error._tag === "ErrorResponse" && error.status >= 400 && error.status < 500 && !aboutTheCaller.has(error.status))

/** Divides a request that has failed until each offender is alone. */
export const isolate = Effect.fnUntraced(function* <T, A, R>({
  error,
  isDivisible = mayBeOneJob,
  items,
  onAnswer,
  request
}: IsolateOptions<T, A, R>): Effect.fn.Return<Isolated<T>, never, R> {
  const offenders: Array<Offender<T>> = []
  const failed: Array<FailedPart<T>> = []
  let requests = 0
  let successes = 0

  const divide = (part: ReadonlyArray<T>, error: StacksError): Effect.Effect<void, never, R> => {
    if (part.length < 2) {
      for (const item of part) offenders.push({ item, error })
      return Effect.void
    }
    if (requests + 2 > maxRequests || (successes === 0 && requests >= maxFailures)) {
      failed.push({ items: part, error })
      return Effect.void
    }
    requests += 2
    const middle = Math.ceil(part.length / 2)
    return Effect.forEach([part.slice(0, middle), part.slice(middle)], ask, { concurrency: 2, discard: true })
  }

  const ask = (part: ReadonlyArray<T>): Effect.Effect<void, never, R> =>
    Effect.matchEffect(request(part), {
      onSuccess: (answer) => {
        successes++
        return onAnswer(part, answer)
      },
      onFailure: (error) => {
        if (isDivisible(error)) return divide(part, error)
        failed.push({ items: part, error })
        return Effect.void
      }
    })

  yield* divide(items, error)
  // Where nothing succeeds, a failure of the service says nothing about the items.
  if (successes === 0 && items.length > 1 && offenders.some(({ error }) => !mayBeOneJob(error))) {
    return { offenders: [], failed: [{ items, error }] }
  }
  return { offenders, failed }
})
