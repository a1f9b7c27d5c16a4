/**
 * Step 6: a busy service, lost responses, and a queue that does not exist.
 *
 *     node examples/guide/06-when-things-fail.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Console, Effect, Layer, Logger } from "effect"

const { Fault } = StacksEmulator

const Runner = JobRunner.layer(() => Effect.succeed(JobRunner.Finished({ exitStatus: 0, detail: "done" })))

const run = (queueKey: string) =>
  Stack.runUntilIdle({
    key: "guide",
    queueKey,
    onEvent: (event) =>
      event._tag === "RequestFailed" ? Console.log(`trouble: ${event.error.operation}`) : Effect.void
  })

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([{ id: "job", queueKey: "_default" }])
  yield* emulator.setFaults([
    // The service asks to wait for a second.
    Fault.Status({ operations: ["listScheduledJobs"], status: 503, retryAfter: "1 second", times: 1 }),
    // The service finishes the job, but its response is lost. The job must not be finished twice.
    Fault.LostResponse({ operations: ["finishJob"], times: 1 })
  ])
  yield* run("_default")
  const [job] = yield* emulator.jobs
  const finishes = (yield* emulator.requests).filter(({ operation }) => operation === "finishJob")
  yield* Console.log(`${job?.state} with ${job?.exitStatus}, asked ${finishes.length} time(s)`)

  // A permanent failure ends the stack, with a message that says what to do.
  yield* emulator.setFaults([Fault.Status({ operations: ["registerStack"], status: 401 })])
  yield* Effect.catch(run("_default"), (error) => Console.log(error.message))
})

const Emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())
NodeRuntime.runMain(Effect.provide(program, [Runner, Emulated, Logger.layer([])]))
