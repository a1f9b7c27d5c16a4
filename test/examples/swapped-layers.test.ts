/** How to test a program that uses the Stacks API: the program of `examples/swapped-layers.ts` against the emulator. */
import { assert, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { refuseAll } from "../../examples/swapped-layers.ts"

const { Fault } = StacksEmulator

const Emulated = Layer.provideMerge(StacksEmulator.layerClient, StacksEmulator.layer())

layer(Emulated)("refuseAll", (it) => {
  it.effect("finishes every job of the queue with a failure, and tells people why", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ queueKey: "linux" }, { queueKey: "linux" }, { queueKey: "other" }])

      assert.strictEqual(yield* refuseAll("linux", "This queue is closed."), 2)
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ detail, exitStatus, state }) => ({ state, exitStatus, detail })),
        [
          { state: "finished", exitStatus: -1, detail: "This queue is closed." },
          { state: "finished", exitStatus: -1, detail: "This queue is closed." },
          { state: "scheduled", exitStatus: undefined, detail: undefined }
        ]
      )
    })
  )

  it.effect("waits as long as the service asks, on the test's clock", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.setFaults([Fault.Status({ status: 503, retryAfter: "1 minute", times: 1 })])
      const fiber = yield* Effect.forkChild(refuseAll("linux", "This queue is closed."))

      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), 0)
    })
  )

  it.effect("finishes a job once when an answer gets lost", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ queueKey: "linux" }])
      yield* emulator.setFaults([Fault.LostResponse({ operations: ["finishJob"], times: 1 })])
      const before = (yield* emulator.requests).length
      const fiber = yield* Effect.forkChild(refuseAll("linux", "This queue is closed."))

      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(fiber), 1)
      const operations = (yield* emulator.requests).slice(before).map(({ operation }) => operation)
      assert.deepStrictEqual(operations, ["registerStack", "listScheduledJobs", "finishJob", "getJobStates"])
    })
  )
})
