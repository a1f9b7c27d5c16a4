/** How often and how long a stack asks. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type { StacksError } from "../../StacksError.ts"

/** How long each of the last words to the service may take. */
export const farewellTimeout = Duration.seconds(5)

/** 1, 1.5, 2.3, 3.4 … 30 seconds, for as long as it takes. */
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

/** For what has to get done, however long the service is away; `Retry-After` goes before. */
export const patient = (onFailure: (error: StacksError) => Effect.Effect<void>): RetryPolicy.Policy =>
  RetryPolicy.make(Schedule.tap(growing, ({ input }) => onFailure(input))).pipe(
    RetryPolicy.honorRetryAfter(),
    RetryPolicy.mapSchedule(Schedule.modifyDelay(spread))
  )

/** For what has little time. */
export const brief: RetryPolicy.Policy = RetryPolicy.make(Schedule.spaced("500 millis"))

/** An answer that does not decode may have been mangled on its way: what may be sent twice is worth asking for again. */
export const readAgain = <A, R>(effect: Effect.Effect<A, StacksError, R>): Effect.Effect<A, StacksError, R> =>
  Effect.retry(effect, {
    schedule: Schedule.spaced("1 second"),
    times: 5,
    while: (error) => error._tag === "DecodeError"
  })
