/** A retry policy as data, and the retries of a failed call. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type { StacksError } from "../../StacksError.ts"
import { monotonicMillis } from "../monotonicMillis.ts"

export type RetrySchedule = Schedule.Schedule<unknown, StacksError>

/** A bucket of retries. Times are milliseconds of the monotonic clock. */
export interface Budget {
  /** Whether it has a retry at a time, if none is taken before. */
  readonly has: (at: number) => boolean
  readonly take: (now: number) => void
  readonly refund: () => void
}

export interface Plan {
  /** Its input is the failure. Each recurrence is another attempt. */
  readonly schedule: RetrySchedule
  /** Makes the schedule to use, if `schedule` was changed by `mapSchedule`. */
  readonly compile?: ((plan: Plan) => RetrySchedule) | undefined
  /** The number of attempts, including the first one. */
  readonly maxAttempts: number
  /** How long after the first failure attempts may start, in milliseconds. */
  readonly maxElapsed: number
  /** The longest `Retry-After` to honor, in milliseconds; 0 ignores it. */
  readonly maxRetryAfter: number
  readonly budgets: ReadonlyArray<Budget>
}

/** The delay before the next attempt in milliseconds: the schedule's, or the service's if that is longer. */
const delayOf = ({ maxRetryAfter }: Plan, own: Duration.Duration, error: StacksError): number => {
  const asked = error._tag === "ErrorResponse" ? error.retryAfter : undefined
  return Math.max(Duration.toMillis(own), asked === undefined ? 0 : Math.min(Duration.toMillis(asked), maxRetryAfter))
}

/** The schedule within the plan's limits, as the input of `mapSchedule`. */
export const bounded = (plan: Plan): RetrySchedule =>
  Schedule.fromStep(
    Effect.map(Schedule.toStep(plan.schedule), (step) => {
      let start: number | undefined
      return (now: number, error: StacksError) =>
        Effect.flatMap(step(now, error), ([output, duration]) => {
          start ??= now
          const delay = delayOf(plan, duration, error)
          return now - start + delay > plan.maxElapsed
            ? Cause.done(output)
            : Effect.succeed<[unknown, Duration.Duration]>([output, Duration.millis(delay)])
        })
    })
  )

/**
 * Retries after a first failure, while failures are retryable and the plan allows it. `sent` counts the requests that were sent,
 * including nested calls.
 */
export const retry = <A>(
  attempt: Effect.Effect<A, StacksError>,
  failure: StacksError,
  plan: Plan,
  sent: () => number
): Effect.Effect<A, StacksError> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const step = yield* Schedule.toStep(plan.compile === undefined ? plan.schedule : plan.compile(plan))
    const { budgets, maxAttempts, maxElapsed } = plan
    const startMillis = clock.currentTimeMillisUnsafe()
    const start = monotonicMillis(clock)
    let error = failure
    for (let attempts = 1; error.isRetryable && attempts + 1 <= maxAttempts; attempts++) {
      const elapsed = monotonicMillis(clock) - start
      const next = yield* Pull.catchDone(step(startMillis + Math.round(elapsed), error), () => Effect.undefined)
      if (next === undefined) break
      const delay = delayOf(plan, next[1], error)
      const due = elapsed + delay
      if (due > maxElapsed || !budgets.every((budget) => budget.has(start + due))) break
      yield* logRetry(error, attempts, delay)
      yield* Effect.sleep(delay)

      const now = monotonicMillis(clock)
      if (!budgets.every((budget) => budget.has(now))) break
      for (const budget of budgets) budget.take(now)
      const sentBefore = sent()
      const isSent = () => sent() > sentBefore
      const last = error
      // If the attempt still waits for the rate limit when the time is up, it is not sent.
      const tooLate = Effect.flatMap(Effect.sleep(Math.max(0, maxElapsed - (now - start))), () =>
        isSent() ? Effect.never : Effect.fail(last)
      )
      const result = yield* (maxElapsed < Number.POSITIVE_INFINITY ? Effect.raceFirst(attempt, tooLate) : attempt).pipe(
        Effect.onExit(() =>
          Effect.sync(() => {
            if (!isSent()) for (const budget of budgets) budget.refund()
          })
        ),
        Effect.result
      )
      if (Result.isSuccess(result)) return result.success
      error = result.failure
    }
    return yield* Effect.fail(error)
  })

/** Logs a retry, because the caller has to wait for it. */
const logRetry = ({ message, operation }: StacksError, retry: number, delay: number) =>
  Effect.logInfo(`${operation} failed, retrying in ${(delay / 1000).toFixed(1)} s: ${message}`).pipe(
    Effect.annotateLogs({ operation, retry })
  )
