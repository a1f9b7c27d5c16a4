/**
 * Step 3: how many jobs run at the same time, which ones, and in what order.
 *
 *     node examples/guide/03-slots-and-tags.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Console, Effect, Layer, Logger } from "effect"

let running = 0
let most = 0

const Runner = JobRunner.layer(
  Effect.fn(function* ({ job }) {
    yield* Console.log(`start ${job.id}`)
    most = Math.max(most, ++running)
    yield* Effect.sleep("100 millis")
    running--
    return JobRunner.Finished({ exitStatus: 0, detail: "done" })
  })
)

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const linux = { queueKey: "_default", agentQueryRules: ["os=linux"] }
  yield* emulator.addJobs([
    { ...linux, id: "first" },
    { ...linux, id: "second" },
    { ...linux, id: "third" },
    { ...linux, id: "urgent", priority: 10 },
    { id: "windows-only", queueKey: "_default", agentQueryRules: ["os=windows"] }
  ])

  yield* Stack.runUntilIdle({
    key: "guide",
    queueKey: "_default",
    // Two slots: at most two jobs are reserved at a time.
    maxInFlight: 2,
    // Only jobs whose rules these tags meet are taken.
    tags: ["os=linux", "arch=arm64"]
  })

  yield* Console.log(`at most ${most} at once`)
  for (const { id, state } of yield* emulator.jobs) yield* Console.log(`${id} is ${state}`)
})

const Emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())
NodeRuntime.runMain(Effect.provide(program, [Runner, Emulated, Logger.layer([])]))
