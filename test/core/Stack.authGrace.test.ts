/** How long a stack bears that the service does not let it in. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, census, done, emulated, start, takes } from "../support/stacks.ts"

const { Fault } = StacksEmulator

describe("A stack that is refused with 401 or 403", () => {
  it.effect("once, by an operation that it does not repeat, continues after authGrace", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.setFaults([Fault.Status({ status: 403, operations: ["getJob"], times: 1 })])
      const [id = ""] = yield* addJobs(1)
      const stack = yield* start(({ details }) => Effect.as(details, done), { authGrace: "1 minute" })
      const failure = yield* Effect.forkChild(stack.awaitFailure)
      yield* TestClock.adjust("3 seconds")
      yield* emulator.cancelJob(id)
      yield* TestClock.adjust("10 minutes")
      assert.isUndefined(failure.pollUnsafe())
      yield* Fiber.interrupt(failure)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("once, before an outage that lasts longer than authGrace, continues after the outage", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const stack = yield* start(takes("1 second"), { authGrace: "1 minute" })
      const failure = yield* Effect.forkChild(stack.awaitFailure)
      yield* TestClock.adjust("3 seconds")
      yield* emulator.setFaults([
        Fault.Status({ status: 401, operations: ["listScheduledJobs"], times: 1 }),
        Fault.Status({ status: 503 })
      ])
      yield* TestClock.adjust("3 minutes")
      yield* emulator.setFaults([])
      yield* addJobs(2)
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(failure.pollUnsafe())
      assert.deepStrictEqual(yield* census, { "finished 0": 2 })
      yield* Fiber.interrupt(failure)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("again after a success that does not decode, continues for authGrace from then on", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const operations = ["listScheduledJobs"] as const
      const refused = Fault.Status({ status: 403, operations })
      const stack = yield* start(takes("1 second"), { authGrace: "1 minute" })
      const failure = yield* Effect.forkChild(stack.awaitFailure)
      yield* emulator.setFaults([refused])
      yield* TestClock.adjust("50 seconds")
      yield* emulator.setFaults([Fault.Malformed({ operations })])
      // Polls back off for up to 30 seconds.
      yield* TestClock.adjust("40 seconds")
      yield* emulator.setFaults([refused])
      yield* TestClock.adjust("50 seconds")
      assert.isUndefined(failure.pollUnsafe())
      yield* Fiber.interrupt(failure)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
