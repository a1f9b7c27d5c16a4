/** Polls that read as many pages as their reader has use for. */
import { assert, describe, it } from "@effect/vitest"
import { ScheduledJobs, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, countOf, emulated } from "../support/stacks.ts"

const request = { stackKey: "s", clusterQueueKey: "q", pageSize: 10 }

const register = Effect.flatMap(StacksClient.StacksClient, (client) =>
  client.registerStack({ key: "s", type: "custom", queueKey: "q" })
)

const onePoll = (request: ScheduledJobs.WatchRequest) =>
  Effect.map(Stream.runCollect(Stream.take(ScheduledJobs.polls(request), 1)), ([poll]) => poll)

describe("ScheduledJobs.polls with onPage", () => {
  it.effect("reads the next page while onPage returns true", () =>
    Effect.gen(function* () {
      yield* register
      const ids = yield* addJobs(100)
      const pages: Array<ScheduledJobs.PolledPage> = []
      const poll = yield* onePoll({
        ...request,
        maxPages: 1,
        onPage: (page) => Effect.sync(() => pages.push(page) < 4)
      })
      assert.deepStrictEqual(
        pages.map(({ index, isLast, jobs }) => [index, isLast, jobs.length]),
        [0, 1, 2, 3].map((index) => [index, false, 10])
      )
      assert.deepStrictEqual(
        poll?.jobs.map(({ id }) => id),
        ids.slice(0, 40)
      )
      assert.isFalse(poll?.isComplete)
      assert.strictEqual(yield* countOf("listScheduledJobs"), 4)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("ends with the last page, and sets isLast", () =>
    Effect.gen(function* () {
      yield* register
      yield* addJobs(25)
      const last: Array<boolean> = []
      const onPage = ({ isLast }: ScheduledJobs.PolledPage) =>
        Effect.as(
          Effect.sync(() => void last.push(isLast)),
          true
        )
      const poll = yield* onePoll({ ...request, onPage })
      assert.deepStrictEqual(last, [false, false, true])
      assert.isTrue(poll?.isComplete)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("gives the jobs that may start, and whether the queue is paused", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register
      yield* addJobs(2, { agentQueryRules: ["os=mac"] })
      yield* addJobs(3)
      const seen: Array<readonly [number, boolean]> = []
      const onPage = ({ dispatchPaused, jobs }: ScheduledJobs.PolledPage) =>
        Effect.as(
          Effect.sync(() => void seen.push([jobs.length, dispatchPaused === true])),
          true
        )
      yield* onePoll({ ...request, tags: { os: "linux" }, onPage })
      yield* emulator.pauseQueue("q", true)
      yield* onePoll({ ...request, tags: { os: "linux" }, onPage })
      assert.deepStrictEqual(seen, [
        [3, false],
        [0, true]
      ])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("stops reading after Retry-After", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register
      yield* addJobs(100)
      yield* emulator.setFaults([StacksEmulator.Fault.SlowDown({ retryAfter: "7 seconds", skip: 1 })])
      let pages = 0
      yield* ScheduledJobs.polls({ ...request, onPage: () => Effect.sync(() => ++pages > 0) }).pipe(
        Stream.runDrain,
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(pages, 2)
      yield* TestClock.adjust("7 seconds")
      assert.strictEqual(pages, 3)
    }).pipe(Effect.provide(emulated()))
  )
})
