/** The retry policy of what a stack has to get done, however long the service is away. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type { StacksError } from "../../StacksError.ts"

/** 1, 2, 4 … 30 seconds, a fifth more or less, for as long as it takes; `Retry-After` goes before. */
export const patient = (onFailure: (error: StacksError) => Effect.Effect<void>): RetryPolicy.Policy =>
  RetryPolicy.make(
    Schedule.exponential("1 second").pipe(
      Schedule.setInputType<StacksError>(),
      Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(30)))),
      Schedule.jittered,
      Schedule.tap(({ input }) => onFailure(input))
    )
  ).pipe(RetryPolicy.honorRetryAfter())
