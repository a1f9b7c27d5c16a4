/**
 * Step 5: jobs that are canceled, and a stack that is stopped.
 *
 *     node examples/guide/05-cancel-and-shutdown.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Console, Effect, Layer, Logger, Stream } from "effect"

// A machine of the runner's own. Whatever way the job ends, the machine is given back.
const machine = (jobUuid: string) =>
  Effect.acquireRelease(Console.log(`${jobUuid}: machine up`), () => Console.log(`${jobUuid}: machine down`))

const Runner = JobRunner.layer(
  Effect.fn(function* ({ job }) {
    yield* machine(job.id)
    yield* Effect.sleep(job.id === "short" ? "1 second" : "1 hour")
    return JobRunner.Finished({ exitStatus: 0, detail: "done" })
  }, Effect.scoped)
)

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs(["canceled", "short", "long"].map((id) => ({ id, queueKey: "default" })))

  yield* Effect.gen(function* () {
    const stack = yield* Stack.make({
      key: "guide",
      queueKey: "default",
      // How often the stack asks whether a job was canceled.
      stateInterval: "1 second",
      // How long running jobs may go on when the stack stops.
      shutdownGrace: "3 seconds"
    })
    const until = (tag: "Started" | "Canceled", count: number) =>
      stack.events.pipe(
        Stream.filter((event) => event._tag === tag),
        Stream.take(count),
        Stream.runDrain
      )
    yield* until("Started", 3)

    // Somebody cancels a job in Buildkite: its runner is interrupted.
    yield* emulator.cancelJob("canceled")
    yield* until("Canceled", 1)
    yield* Console.log("stopping")
    // The scope ends here, as it does after SIGTERM: the stack drains.
  }).pipe(Effect.scoped)

  for (const { exitStatus, id, signalReason, state } of yield* emulator.jobs) {
    yield* Console.log([id, state, exitStatus, signalReason].filter((it) => it !== undefined).join(" "))
  }
})

const Emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())
NodeRuntime.runMain(Effect.provide(program, [Runner, Emulated, Logger.layer([])]))
