/**
 * Step 4: a real agent for each job. Needs a `buildkite-agent` on the PATH, or AGENT_PATH; otherwise it says so.
 *
 *     node examples/guide/04-agents.ts
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { AgentRunner, JobOutput, NodeStacksEmulator } from "@stacksapi/node"
import { Config, Console, Effect, FileSystem, Layer, Logger, Stream } from "effect"

// Starts an agent with a token that is valid for one job. The agent runs the job and reports to the service itself.
const Agents = Layer.unwrap(
  Effect.gen(function* () {
    const { baseUrl } = yield* StacksEmulator.StacksEmulator
    const fileSystem = yield* FileSystem.FileSystem
    return AgentRunner.layer({
      agentPath: yield* Config.withDefault(Config.String("AGENT_PATH"), "buildkite-agent"),
      // The folder in which agents check out and build, with one folder per slot. Use a permanent one.
      buildPath: yield* fileSystem.makeTempDirectoryScoped({ prefix: "stacksapi-guide-" }),
      // Against Buildkite you don't need an endpoint.
      endpoint: baseUrl
    })
  })
)

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const output = yield* JobOutput.JobOutput
  yield* output.lines.pipe(
    Stream.runForEach(({ jobUuid, text }) => Console.log(`${jobUuid}: ${text}`)),
    Effect.forkScoped
  )
  yield* emulator.addJobs([
    { id: "hello", queueKey: "_default", command: "echo hello" },
    { id: "fails", queueKey: "_default", command: "exit 3" }
  ])
  yield* Stack.runUntilIdle({ key: "guide", queueKey: "_default", maxInFlight: 1 })
  for (const { exitStatus, id } of yield* emulator.jobs) yield* Console.log(`${id} finished with ${exitStatus}`)
}).pipe(Effect.scoped)

const Emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())
NodeRuntime.runMain(
  program.pipe(
    Effect.provide(Layer.provideMerge(Agents, Layer.merge(Emulated, NodeFileSystem.layer))),
    // This fails before anything is reserved.
    Effect.catchTag("AgentUnusable", ({ message }) => Console.log(`No agent can run here: ${message}`)),
    Effect.provide(Logger.layer([]))
  )
)
