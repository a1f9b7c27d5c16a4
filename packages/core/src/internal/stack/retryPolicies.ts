/** How often a stack retries, and how long. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type { StacksError } from "../../StacksError.ts"
import { retryAfterOf } from "./serviceErrors.ts"

/** How long each of the last requests may take when a stack ends. */
export const shutdownTimeout = Duration.seconds(5)

/** 1, 1.5, 2.3, 3.4 … 30 seconds, without end. */
const growing = Schedule.exponential("1 second", 1.5).pipe(
  Schedule.setInputType<StacksError>(),
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(30))))
)

/**
 * A fifth more or less. What the service asks for is never less, and up to a tenth or a second more: others were told the same.
 */
const spread = ({ duration, input }: Schedule.Metadata<unknown, StacksError>) =>
  Effect.map(Random.next, (random) => {
    const isAsked = input._tag === "ErrorResponse" && input.retryAfter !== undefined
    const millis = Duration.toMillis(duration)
    return Duration.millis(isAsked ? millis + random * Math.max(1000, millis / 10) : millis * (0.8 + 0.4 * random))
  })

/** Called with each failure that is retried. Requests of a stack set it. */
export const OnRetry: Context.Reference<(error: StacksError) => Effect.Effect<void>> = Context.Reference(
  "@stacksapi/core/internal/stack/OnRetry",
  {
    defaultValue:
      () =>
      (_error: StacksError): Effect.Effect<void> =>
        Effect.void
  }
)

/** For what has to get done, however long the service is away. `Retry-After` is a floor. */
export const persistent: RetryPolicy.Policy = RetryPolicy.make(
  Schedule.tap(growing, ({ input }) => Effect.flatMap(OnRetry, (onRetry) => onRetry(input)))
).pipe(RetryPolicy.honorRetryAfter(), RetryPolicy.mapSchedule(Schedule.modifyDelay(spread)))

/** The delays of {@link persistent}, after any failure. */
export const endless = growing.pipe(
  Schedule.modifyDelay(({ duration, input }) =>
    Effect.succeed(Duration.max(duration, retryAfterOf(input) ?? Duration.zero))
  ),
  Schedule.modifyDelay(spread)
)

/** For what has little time. */
export const quick: RetryPolicy.Policy = RetryPolicy.make(Schedule.spaced("500 millis"))

/** A response that does not decode may have been damaged on its way. What may be sent twice is requested again. */
export const readAgain = <A, R>(effect: Effect.Effect<A, StacksError, R>): Effect.Effect<A, StacksError, R> =>
  Effect.retry(effect, {
    schedule: Schedule.spaced("1 second"),
    times: 5,
    while: (error) => error._tag === "DecodeError"
  })
