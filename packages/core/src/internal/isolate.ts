/**
 * Finds the job for which a request for many jobs fails, so that the others proceed.
 *
 * The request is divided in two, again and again. One offender among 1000 jobs takes 20 requests.
 */
import * as Effect from "effect/Effect"
import type { StacksError } from "../StacksError.ts"

export interface Offender {
  readonly jobUuid: string
  readonly error: StacksError
}

/** A part of the jobs whose request failed. */
export interface FailedPart {
  readonly jobUuids: ReadonlyArray<string>
  readonly error: StacksError
}

export interface Isolated {
  /** Jobs whose request failed though it named no other job. */
  readonly offenders: ReadonlyArray<Offender>
  /** Jobs of which it is not known whether they make requests fail. */
  readonly failed: ReadonlyArray<FailedPart>
}

export interface IsolateOptions<A, R> {
  /** The jobs of the request that has failed. */
  readonly jobUuids: ReadonlyArray<string>
  /** How it failed. */
  readonly error: StacksError
  /** Sends the request for a part of the jobs. */
  readonly request: (jobUuids: ReadonlyArray<string>) => Effect.Effect<A, StacksError, R>
  /** Called with each answer as it comes. */
  readonly onAnswer: (jobUuids: ReadonlyArray<string>, answer: A) => Effect.Effect<void, never, R>
  /** Whether a failure may be the fault of one job. Default {@link mayBeOneJob}. */
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
export const isolate = Effect.fnUntraced(function* <A, R>({
  error,
  isDivisible = mayBeOneJob,
  jobUuids,
  onAnswer,
  request
}: IsolateOptions<A, R>): Effect.fn.Return<Isolated, never, R> {
  const offenders: Array<Offender> = []
  const failed: Array<FailedPart> = []
  let requests = 0
  let successes = 0

  const divide = (jobUuids: ReadonlyArray<string>, error: StacksError): Effect.Effect<void, never, R> => {
    const [jobUuid] = jobUuids
    if (jobUuid === undefined) return Effect.void
    if (jobUuids.length === 1) {
      offenders.push({ jobUuid, error })
      return Effect.void
    }
    if (requests + 2 > maxRequests || (successes === 0 && requests >= maxFailures)) {
      failed.push({ jobUuids, error })
      return Effect.void
    }
    requests += 2
    const middle = Math.ceil(jobUuids.length / 2)
    return Effect.forEach([jobUuids.slice(0, middle), jobUuids.slice(middle)], ask, { concurrency: 2, discard: true })
  }

  const ask = (jobUuids: ReadonlyArray<string>): Effect.Effect<void, never, R> =>
    Effect.matchEffect(request(jobUuids), {
      onSuccess: (answer) => {
        successes++
        return onAnswer(jobUuids, answer)
      },
      onFailure: (error) => {
        if (isDivisible(error)) return divide(jobUuids, error)
        failed.push({ jobUuids, error })
        return Effect.void
      }
    })

  yield* divide(jobUuids, error)
  // Where nothing succeeds, a failure of the service says nothing about the jobs.
  if (successes === 0 && jobUuids.length > 1 && offenders.some(({ error }) => !mayBeOneJob(error))) {
    return { offenders: [], failed: [{ jobUuids, error }] }
  }
  return { offenders, failed }
})
