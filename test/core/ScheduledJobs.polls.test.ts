import { assert, describe, it } from "@effect/vitest"
import { ScheduledJobs } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Duration, Effect, Fiber, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import { addJobs } from "../support/emulated.ts"
import { at, emulated, emulator, listedAt, request } from "../support/scheduledJobs.ts"

const { Fault } = StacksEmulator

describe("ScheduledJobs.polls", () => {
  it.effect("emits all jobs that may start, and all listed jobs, each time", () =>
    Effect.gen(function* () {
      yield* addJobs("a", { id: "later", runnableAt: at(60_000) }, { id: "mac", agentQueryRules: ["os=mac"] })
      const fiber = yield* ScheduledJobs.polls({ ...request, tags: { os: "linux" } }).pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      for (const [index, poll] of (yield* Fiber.join(fiber)).entries()) {
        assert.strictEqual(DateTime.toEpochMillis(poll.startedAt), index * 1000)
        assert.deepStrictEqual(
          poll.jobs.map((job) => job.id),
          ["a"]
        )
        assert.lengthOf(poll.listed, 3)
        assert.isFalse(poll.dispatchPaused)
        assert.isTrue(poll.isComplete)
        assert.isUndefined(poll.failure)
        assert.strictEqual(Duration.toMillis(poll.nextPollIn), 1000)
      }
    }).pipe(Effect.provide(emulated))
  )

  it.effect("emits pauses, incomplete polls and failures", () =>
    Effect.gen(function* () {
      yield* addJobs("a", "b", "c")
      yield* emulator(({ pauseQueue, setFaults }) =>
        Effect.andThen(
          pauseQueue("q", true),
          setFaults([Fault.Status({ status: 503, retryAfter: "4 seconds", skip: 2 })])
        )
      )
      const fiber = yield* ScheduledJobs.polls({ ...request, pageSize: 1 }).pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      const [first, second] = yield* Fiber.join(fiber)
      assert.deepInclude(first, { jobs: [], dispatchPaused: true, isComplete: false, failure: undefined })
      assert.deepStrictEqual(
        first?.listed.map((job) => job.id),
        ["a", "b"]
      )
      assert.deepInclude(second, { jobs: [], listed: [], dispatchPaused: undefined, isComplete: false })
      assert.strictEqual(second?.failure?._tag, "ErrorResponse")
      assert.strictEqual(second && Duration.toSeconds(second.nextPollIn), 4)
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )

  it.effect("polls on demand", () =>
    Effect.gen(function* () {
      yield* ScheduledJobs.polls(request).pipe(
        Stream.runForEach(() => Effect.sleep("10 seconds")),
        Effect.forkChild
      )
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual(yield* listedAt, [0, 10_000, 20_000])
    }).pipe(Effect.provide(emulated))
  )
})
