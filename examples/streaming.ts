/**
 * The scheduled jobs of a queue as streams: one pass over all pages, and polling for the jobs that this stack may start.
 *
 *     node examples/streaming.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { ScheduledJobs, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Console, Effect, Stream } from "effect"

const stackKey = "streaming"

// One pass. The next page is prefetched while this one is processed; at most two are in memory.
const reserveAll = Effect.gen(function* () {
  const client = yield* StacksClient.StacksClient
  const reserved = yield* ScheduledJobs.stream({ stackKey, clusterQueueKey: "backlog" }).pipe(
    Stream.map((job) => job.id),
    Stream.grouped(1000),
    Stream.mapEffect((jobUuids) => client.batchReserveJobs({ stackKey, jobUuids })),
    Stream.runFold(
      () => 0,
      (sum, result) => sum + result.reserved.length
    )
  )
  yield* Console.log(`reserved ${reserved} jobs`)
})

// Endless: one poll a second, each job once, and only jobs whose rules these tags meet. `take` ends it, because this is an example.
const watch = ScheduledJobs.watch({ stackKey, clusterQueueKey: "live", tags: ["os=linux", "arch=arm64"] }).pipe(
  Stream.take(3),
  Stream.runForEach((job) => Console.log(`may start ${job.id}`))
)

// The service in memory. Against Buildkite: provide NodeStacksClient.layerConfig, and register the stack first.
const emulated = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const client = yield* StacksClient.StacksClient
  yield* client.registerStack({ key: stackKey, type: "custom", queueKey: "backlog" })

  yield* emulator.addJobs(Array.from({ length: 2500 }, () => ({ queueKey: "backlog" })))
  yield* reserveAll
  const requests = yield* emulator.requests
  yield* Console.log(`read ${requests.filter(({ operation }) => operation === "listScheduledJobs").length} pages`)

  yield* emulator.addJobs([
    { queueKey: "live", id: "anywhere" },
    { queueKey: "live", id: "on-windows", agentQueryRules: ["os=windows"] },
    { queueKey: "live", id: "on-linux", agentQueryRules: ["queue=live", "os=linux", "arch=*"] }
  ])
  const later = emulator.addJobs([{ queueKey: "live", id: "added-later" }]).pipe(Effect.delay("100 millis"))
  yield* Effect.all([watch, later], { concurrency: 2, discard: true })
}).pipe(Effect.provide(StacksEmulator.layerTest()))

NodeRuntime.runMain(emulated)
