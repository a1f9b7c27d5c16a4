/**
 * Step 7: a test. It simulates twenty minutes of a stack at once: the emulator runs in process, on the test's clock.
 *
 *     node examples/guide/07-tests.ts
 */
import assert from "node:assert/strict"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Console, Effect, Logger } from "effect"
import { TestClock } from "effect/testing"

let machines = 0

// The runner under test fails with a retryable error while there is no machine.
const Runner = JobRunner.layer(
  Effect.fn(function* () {
    if (machines === 0) {
      return yield* new JobRunner.JobRunnerError({ message: "No machine is free", isRetryable: true })
    }
    yield* Effect.sleep("10 minutes")
    return JobRunner.Finished({ exitStatus: 0, detail: "done" })
  })
)

const test = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([{ id: "job", queueKey: "_default" }])
  const stack = yield* Stack.make({
    key: "guide",
    queueKey: "_default",
    // Without it, a failed assertion would wait for the running job, on a clock that nobody moves.
    shutdownGrace: 0,
    // The stack polls in simulated time, too.
    pollInterval: "1 minute"
  })

  yield* TestClock.adjust("10 seconds")
  const waiting = yield* stack.status
  assert.equal(waiting.backingOff, 1)
  assert.equal(waiting.inFlight.length, 0)

  machines = 1
  yield* TestClock.adjust("20 minutes")
  const [job] = yield* emulator.jobs
  assert.equal(job?.state, "finished")
  assert.equal(job?.exitStatus, 0)
  yield* Console.log("passed")
}).pipe(Effect.scoped)

NodeRuntime.runMain(Effect.provide(test, [Runner, StacksEmulator.layerTest(), Logger.layer([]), TestClock.layer()]))
