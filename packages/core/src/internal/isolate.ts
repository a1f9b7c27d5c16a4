/**
 * Finds the item that makes a batch request fail, a job or a notification, so that the others proceed.
 *
 * It divides the request in two, recursively. One offender among 1000 items takes 20 requests.
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
  /** Items whose request failed though it had no other item. */
  readonly offenders: ReadonlyArray<Offender<T>>
  /** Items of failed requests. It is unknown which of them are offenders. */
  readonly failed: ReadonlyArray<FailedPart<T>>
}

export interface IsolateOptions<T, A, R> {
  /** The items of the request that has failed. */
  readonly items: ReadonlyArray<T>
  /** The failure of that request. */
  readonly error: StacksError
  /** Sends the request for a part of the items. */
  readonly request: (items: ReadonlyArray<T>) => Effect.Effect<A, StacksError, R>
  /** Called with each response. */
  readonly onAnswer: (items: ReadonlyArray<T>, answer: A) => Effect.Effect<void, never, R>
  /** Whether one item may be the cause of a failure. Default {@link mayBeOneJob}. */
  readonly isDivisible?: (error: StacksError) => boolean
}

/** The maximum number of requests. */
const maxRequests = 25
/** After this many requests without a success, one job is not the cause. */
const maxFailures = 8

/** Statuses in the 400s that do not depend on the jobs in a request. */
const unrelatedStatuses = new Set([401, 403, 404, 407, 408, 425, 429])

/** Whether one job may be the cause of a failure: the request was refused because of its content. */
export const mayBeOneJob = (error: StacksError): boolean =>
  error._tag === "InvalidRequest" ||
  (error._tag === "ErrorResponse" && error.status >= 400 && error.status < 500 && !unrelatedStatuses.has(error.status))

/**
 * Whether one job may be the cause of a failure that has come several times, or while other requests succeed: any failure but those
 * that are about the caller. For example, a 404 can be about a job as well as about the stack.
 */
export const mayBeOneJobAfterAll = (error: StacksError): boolean =>
  !(error._tag === "ErrorResponse" && (error.status === 401 || error.status === 429))

/** Divides a failed request until each offender is alone. */
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
  // If nothing succeeds, the items are not the cause of a failure of the service.
  if (successes === 0 && items.length > 1 && offenders.some(({ error }) => !mayBeOneJob(error))) {
    return { offenders: [], failed: [{ items, error }] }
  }
  return { offenders, failed }
})
