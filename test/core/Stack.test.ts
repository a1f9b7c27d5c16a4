import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"

const layer = StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer()))

describe("Stack", () => {
  it.effect("runs all jobs and ends", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs(Array.from({ length: 200 }, () => ({ queueKey: "q" })))
      let running = 0
      let most = 0
      const runner = JobRunner.layer(() =>
        Effect.gen(function* () {
          running++
          most = Math.max(most, running)
          yield* Effect.sleep("2 seconds")
          running--
          return JobRunner.Finished({ exitStatus: 0, detail: "ok" })
        })
      )
      const fiber = yield* Stack.runUntilIdle({ key: "s", queueKey: "q", maxInFlight: 10 }).pipe(
        Effect.provide(runner),
        Effect.forkChild
      )
      yield* TestClock.adjust("3 minutes")
      yield* Fiber.join(fiber)
      const jobs = yield* emulator.jobs
      assert.deepStrictEqual(new Set(jobs.map((j) => `${j.state} ${j.exitStatus}`)), new Set(["finished 0"]))
      assert.strictEqual(most, 10)
    }).pipe(Effect.provide(layer))
  )
})
