/**
 * One program with two sets of layers: in memory on a virtual clock, and over real HTTP. The first one is for tests: see
 * `test/examples/swapped-layers.test.ts`.
 *
 *     node examples/swapped-layers.ts
 */
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksClient, NodeStacksEmulator } from "@stacksapi/node"
import { Clock, Console, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"

const stackKey = "swapped-layers"

/** The program. It needs a StacksClient, and does not know which one. */
export const refuseAll = Effect.fn("refuseAll")(function* (queueKey: string, detail: string) {
  const client = yield* StacksClient.StacksClient
  yield* client.registerStack({ key: stackKey, type: "custom", queueKey })
  const { jobs } = yield* client.listScheduledJobs({ stackKey, clusterQueueKey: queueKey })
  yield* Effect.forEach(jobs, ({ id }) =>
    client.failJob({ stackKey, jobUuid: id, detail, signalReason: "agent_refused" })
  )
  return jobs.length
})

/** Runs the program while the service asks once to wait, and prints how long that took on the clock in use. */
const measured = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([{ queueKey: "examples" }, { queueKey: "examples" }])
  yield* emulator.setFaults([
    StacksEmulator.Fault.Status({ operations: ["listScheduledJobs"], status: 503, retryAfter: "3 seconds", times: 1 })
  ])
  const start = yield* Clock.currentTimeMillis
  const refused = yield* refuseAll("examples", "Only an example.")
  const seconds = Math.floor(((yield* Clock.currentTimeMillis) - start) / 1000)
  const states = (yield* emulator.jobs).map(({ exitStatus, state }) => `${state} ${exitStatus}`)
  yield* Console.log(`refused ${refused} jobs after ${seconds} s: ${states.join(", ")}`)
})

const inMemory = Effect.gen(function* () {
  const fiber = yield* Effect.forkChild(measured)
  yield* TestClock.adjust("3 seconds")
  yield* Fiber.join(fiber)
}).pipe(Effect.provide([StacksEmulator.layerTest(), TestClock.layer()]))

// Against Buildkite: NodeStacksClient.layerConfig alone, with BUILDKITE_CLUSTER_TOKEN set. It fails every job of the queue.
const EmulatedOverHttp = Layer.unwrap(
  Effect.map(StacksEmulator.StacksEmulator, ({ baseUrl, token }) => NodeStacksClient.layer({ baseUrl, token }))
).pipe(Layer.provideMerge(NodeStacksEmulator.layer()))

const overHttp = measured.pipe(Effect.provide(EmulatedOverHttp))

if (import.meta.main) {
  await Effect.runPromise(Effect.andThen(inMemory, overHttp))
}
