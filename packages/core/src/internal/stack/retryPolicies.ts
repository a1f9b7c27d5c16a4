/** How a stack retries its requests. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type { StacksError } from "../../StacksError.ts"
import { retryAfterOf } from "./serviceErrors.ts"

/** The time limit of each of the last requests when a stack ends. */
export const shutdownTimeout = Duration.seconds(5)

/** 1, 1.5, 2.3, 3.4 … 30 seconds, without end. */
const growing = Schedule.exponential("1 second", 1.5).pipe(
  Schedule.setInputType<StacksError>(),
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(30))))
)

/**
 * Adds or subtracts up to a fifth. A `Retry-After`, which other clients may have got too, is only extended: by up to a tenth or a second.
 */
const spread = ({ duration, input }: Schedule.Metadata<unknown, StacksError>) =>
  Effect.map(Random.next, (random) => {
    const isAsked = input._tag === "ErrorResponse" && input.retryAfter !== undefined
    const millis = Duration.toMillis(duration)
    return Duration.millis(isAsked ? millis + random * Math.max(1000, millis / 10) : millis * (0.8 + 0.4 * random))
  })

/** Called with each failure that is retried. A stack sets it for its requests. */
export const OnRetry: Context.Reference<(error: StacksError) => Effect.Effect<void>> = Context.Reference(
  "@stacksapi/core/internal/stack/OnRetry",
  {
    defaultValue:
      () =>
      (_error: StacksError): Effect.Effect<void> =>
        Effect.void
  }
)

/** Retries without end, for requests that must succeed. Waits at least for `Retry-After`. */
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

/** Retries every half second, for requests with little time. */
export const quick: RetryPolicy.Policy = RetryPolicy.make(Schedule.spaced("500 millis"))

/** Repeats a request whose response does not decode, because the response may have been damaged. Only for requests that may run twice. */
export const readAgain = <A, R>(effect: Effect.Effect<A, StacksError, R>): Effect.Effect<A, StacksError, R> =>
  Effect.retry(effect, {
    schedule: Schedule.spaced("1 second"),
    times: 5,
    while: (error) => error._tag === "DecodeError"
  })
