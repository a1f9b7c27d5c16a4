/**
 * Step 2: a stack. You say how one job is run; the runtime does the rest.
 *
 *     node examples/guide/02-first-runner.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Console, Effect, Layer, Logger } from "effect"

// Called once for each job that the stack has reserved.
const Runner = JobRunner.layer(
  Effect.fn(function* ({ details, job, notify }) {
    yield* notify("Hello from my stack")
    const { command } = yield* details
    if (command === "make release") return yield* new JobRunner.JobRunnerError({ message: "No machine may release" })
    yield* Console.log(`${job.id}: ${command}`)
    // A real runner runs the command: see step 4. This one fails the linter's job.
    return JobRunner.Finished({ exitStatus: command === "make lint" ? 1 : 0, detail: "Only an example" })
  })
)

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([
    { id: "test", queueKey: "_default", command: "make test", priority: 1 },
    { id: "lint", queueKey: "_default", command: "make lint" },
    { id: "release", queueKey: "_default", command: "make release" }
  ])
  // Ends when the queue is empty. Use Stack.run for a stack that runs until it is interrupted.
  yield* Stack.runUntilIdle({ key: "guide", queueKey: "_default" })
  for (const { exitStatus, id } of yield* emulator.jobs) yield* Console.log(`${id} finished with ${exitStatus}`)
})

const Emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())
NodeRuntime.runMain(Effect.provide(program, [Runner, Emulated, Logger.layer([])]))
