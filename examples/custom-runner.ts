/**
 * A stack with your own runner: you say how a job is run, and the runtime does the rest.
 *
 *     node examples/custom-runner.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Console, Effect, Logger } from "effect"

// Called once for each reserved job, and interrupted when the job is canceled. A real runner runs the command.
const Runner = JobRunner.layer(
  Effect.fn(function* ({ details, job, notify }) {
    yield* notify("Starting on an imaginary machine")
    const { command } = yield* details
    if (command === "make release") return yield* new JobRunner.JobRunnerError({ message: "No machine may release" })
    yield* Console.log(`${job.id} ran ${command}`)
    return JobRunner.Finished({ exitStatus: 0, detail: "Nothing was run: this is an example." })
  })
)

// The service in memory, with three jobs. Against Buildkite: `Stack.run`, with NodeStacksClient.layerConfig.
const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([
    { id: "lint", queueKey: "examples", command: "make lint" },
    { id: "test", queueKey: "examples", command: "make test", priority: 1 },
    { id: "release", queueKey: "examples", command: "make release" }
  ])
  yield* Stack.runUntilIdle({ key: "custom-runner", queueKey: "examples", maxInFlight: 1 })
  for (const { exitStatus, id } of yield* emulator.jobs) yield* Console.log(`${id} finished with ${exitStatus}`)
})

NodeRuntime.runMain(program.pipe(Effect.provide([Runner, StacksEmulator.layerTest(), Logger.layer([])])))
