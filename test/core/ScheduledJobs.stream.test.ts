import { assert, describe, it } from "@effect/vitest"
import { ScheduledJobs } from "@stacksapi/core"
import { Effect, Stream } from "effect"
import { addJobs } from "../support/emulated.ts"
import { at, emulated, emulator, listed, numbered, page, request, scripted } from "../support/scheduledJobs.ts"

describe("ScheduledJobs.stream", () => {
  it.effect("emits each job once, oldest first", () =>
    Effect.gen(function* () {
      yield* addJobs(
        { id: "new", scheduledAt: at(3000) },
        { id: "old", scheduledAt: at(1000) },
        { id: "middle", scheduledAt: at(2000) }
      )
      const jobs = yield* Stream.runCollect(ScheduledJobs.stream({ ...request, pageSize: 1 }))
      assert.deepStrictEqual(
        jobs.map((job) => job.id),
        ["old", "middle", "new"]
      )
    }).pipe(Effect.provide(emulated))
  )

  it.effect("streams 100,000 jobs, never more than one page ahead", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(100_000))
      const ids = new Set<string>()
      let consumedPages = 0
      let mostHeld = 0
      yield* ScheduledJobs.stream(request).pipe(
        Stream.runForEachArray((jobs) =>
          Effect.gen(function* () {
            for (const { id } of jobs) ids.add(id)
            yield* Effect.yieldNow
            mostHeld = Math.max(mostHeld, (yield* listed).length - consumedPages)
            consumedPages++
          })
        )
      )
      assert.strictEqual(ids.size, 100_000)
      assert.strictEqual(consumedPages, 100)
      assert.strictEqual(mostHeld, 2)
    }).pipe(Effect.provide(emulated))
  )

  it.effect("omits jobs that moved from one page to the next", () =>
    Effect.gen(function* () {
      const pages = [page(["a", "b"], "1"), page(["b", "c"], "2"), page(["d"])]
      const jobs = yield* ScheduledJobs.stream(request).pipe(
        Stream.runCollect,
        Effect.provide(scripted((_, index) => pages[index]).layer)
      )
      assert.deepStrictEqual(
        jobs.map((job) => job.id),
        ["a", "b", "c", "d"]
      )
    })
  )

  it.effect("emits jobs that must not start, too", () =>
    Effect.gen(function* () {
      yield* addJobs({ id: "later", runnableAt: at(3_600_000) }, { id: "other", agentQueryRules: ["os=mac"] })
      yield* emulator(({ pauseQueue }) => pauseQueue("q", true))
      assert.strictEqual(yield* Stream.runCount(ScheduledJobs.stream(request)), 2)
    }).pipe(Effect.provide(emulated))
  )
})
