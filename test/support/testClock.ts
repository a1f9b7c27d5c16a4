/** The TestClock of tests with long delays. */
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"

/** A TestClock without the warning after a second of real time, which slow machines would trigger. */
export const testClock = TestClock.layer({ warningDelay: "1 hour" })

/** Runs an effect to its end, and advances the clock by 10 days. */
export const runToEnd = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust("10 days")
    return yield* Fiber.join(fiber)
  })
