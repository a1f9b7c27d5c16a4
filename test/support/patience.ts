/** Waiting under the TestClock. */
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"

/** Runs an effect to its end, however long its delays are. */
export const patiently = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust("10 days")
    return yield* Fiber.join(fiber)
  })
