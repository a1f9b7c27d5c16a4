/** Waiting under the TestClock. */
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"

/** A TestClock that waits for what it has woken, however slow the machine is: the usual one goes on after a second. */
export const unhurried = TestClock.layer({ warningDelay: "1 hour" })

/** Runs an effect to its end, however long its delays are. */
export const patiently = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust("10 days")
    return yield* Fiber.join(fiber)
  })
