/** Pages as streams. */
import { ScheduledJobs } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Stream } from "effect"
import { countOf, Emulator } from "../support/remote.ts"
import { type Cases, jobs, must, queueKey, same, stackKey } from "../support/scene.ts"

const { Fault } = StacksEmulator

const queue = { stackKey, clusterQueueKey: queueKey }

export const streams: Cases = {
  "a stream gives the jobs of all pages, each once, in order": Effect.gen(function* () {
    const ids = yield* jobs(2500)
    const seen = yield* ScheduledJobs.stream(queue).pipe(Stream.runCollect)
    same(
      seen.map(({ id }) => id),
      ids
    )
    same(yield* countOf("listScheduledJobs"), 3)
  }),

  "a stream survives what may be tried again": Effect.gen(function* () {
    const { setFaults } = yield* Emulator
    const ids = yield* jobs(30)
    yield* setFaults([
      Fault.Truncate({ operations: ["listScheduledJobs"], skip: 1, times: 1 }),
      Fault.Status({ status: 502, operations: ["listScheduledJobs"], times: 1 })
    ])
    const seen = yield* ScheduledJobs.stream({ ...queue, pageSize: 10 }).pipe(Stream.runCollect)
    same(
      seen.map(({ id }) => id),
      ids
    )
  }),

  "a stream that ends early asks for no more": Effect.gen(function* () {
    yield* jobs(100)
    const seen = yield* ScheduledJobs.stream({ ...queue, pageSize: 10 }).pipe(Stream.take(15), Stream.runCollect)
    same(seen.length, 15)
    must((yield* countOf("listScheduledJobs")) <= 3, "at most one page more was asked for")
  }),

  "a stream fails as its request does": Effect.gen(function* () {
    const error = yield* ScheduledJobs.stream({ ...queue, stackKey: "nobody" }).pipe(Stream.runDrain, Effect.flip)
    must(error._tag === "ErrorResponse" && error.reason._tag === "NotFound", `${error} is NotFound`)
  }),

  "a watch tells each job once, when it may start": Effect.gen(function* () {
    const { addJobs, pauseQueue } = yield* Emulator
    yield* jobs(0)
    yield* pauseQueue(queueKey, true)
    yield* addJobs([
      { queueKey, id: "one", agentQueryRules: ["os=linux"] },
      { queueKey, id: "two", agentQueryRules: ["os=windows"] }
    ])
    const watching = yield* ScheduledJobs.watch({ ...queue, tags: ["os=linux"] }).pipe(
      Stream.take(2),
      Stream.runCollect,
      Effect.forkChild
    )
    yield* Effect.sleep("200 millis")
    yield* pauseQueue(queueKey, false)
    yield* addJobs([{ queueKey, id: "three" }])
    same(
      (yield* Fiber.join(watching)).map(({ id }) => id),
      ["one", "three"]
    )
  }),

  "2,000 jobs are decoded as they were sent, whatever is in them": Effect.gen(function* () {
    const { addJobs } = yield* Emulator
    yield* jobs(0)
    const names = Array.from({ length: 2000 }, (_, n) => `job ${n} – Straße ${n % 2 ? "🚀" : "\u2028"}`)
    yield* addJobs(names.map((id) => ({ queueKey, id, step: { key: id } })))
    const seen = yield* ScheduledJobs.stream(queue).pipe(Stream.runCollect)
    same(
      seen.map(({ id }) => id),
      names
    )
    same(
      seen.map(({ step }) => step.key),
      names
    )
  })
}
