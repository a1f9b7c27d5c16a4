/**
 * The life of a stack: register, list, reserve, look, finish, deregister.
 *
 *     node examples/quick-start.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Console, Effect } from "effect"

const stackKey = "quick-start"
const queueKey = "examples"

const program = Effect.gen(function* () {
  const client = yield* StacksClient.StacksClient

  const stack = yield* client.registerStack({ key: stackKey, type: "custom", queueKey })
  yield* Console.log(`registered ${stack.key} for the queue ${stack.clusterQueueKey}`)

  const page = yield* client.listScheduledJobs({ stackKey, clusterQueueKey: queueKey })
  yield* Console.log(`${page.jobs.length} jobs are scheduled`)

  const { notReserved, reserved } = yield* client.batchReserveJobs({
    stackKey,
    jobUuids: page.jobs.map((job) => job.id),
    reservationExpiry: "5 minutes"
  })
  yield* Console.log(`${reserved.length} reserved, ${notReserved.length} not`)

  for (const jobUuid of reserved) {
    const job = yield* client.getJob({ stackKey, jobUuid })
    // A real stack starts an agent here, or runs the command itself.
    yield* client.finishJob({ stackKey, jobUuid, exitStatus: 0, detail: "Nothing was run: this is an example." })
    yield* Console.log(`finished: ${job.command}`)
  }

  yield* client.deregisterStack({ stackKey })
  yield* Console.log("deregistered")
})

// The service in memory, with three jobs.
const emulated = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  yield* emulator.addJobs([
    { queueKey, command: "make lint" },
    { queueKey, command: "make test" },
    { queueKey, command: "make release" }
  ])
  yield* program
}).pipe(Effect.provide(StacksEmulator.layerTest()))

// Against Buildkite: run `program` with NodeStacksClient.layerConfig instead, BUILDKITE_CLUSTER_TOKEN set, on a test queue.
NodeRuntime.runMain(emulated)
