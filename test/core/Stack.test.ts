/** What a stack takes, in which order, and how much of it at a time. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, DateTime, Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import {
  addJobs,
  census,
  clientVia,
  countOf,
  done,
  emulated,
  jobOf,
  type Run,
  start,
  takes,
  within
} from "../support/stacks.ts"

const runAll = (run: Run, options: Partial<Stack.Options> = {}) =>
  within(
    "1 hour",
    Stack.runUntilIdle({ key: "s", queueKey: "q", ...options }).pipe(Effect.provide(JobRunner.layer(run)))
  )

describe("Stack", () => {
  it.effect("runs all jobs, as many at a time as there are slots, and ends", () =>
    Effect.gen(function* () {
      yield* addJobs(200)
      let running = 0
      let most = 0
      yield* runAll(
        () =>
          Effect.gen(function* () {
            most = Math.max(most, ++running)
            yield* Effect.sleep("2 seconds")
            running--
            return done
          }),
        { maxInFlight: 10 }
      )
      assert.deepStrictEqual(yield* census, { "finished 0": 200 })
      assert.strictEqual(most, 10)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("never reserves more jobs than it has slots", () =>
    Effect.gen(function* () {
      yield* addJobs(300)
      const seen = { most: 0, requests: 0 }
      const { jobs } = yield* StacksEmulator.StacksEmulator
      const watchful = clientVia((_, response) =>
        Effect.tap(response, () =>
          Effect.map(jobs, (all) => {
            seen.requests++
            seen.most = Math.max(seen.most, all.filter(({ state }) => state === "reserved").length)
          })
        )
      )
      let count = 0
      // Some end at once, some fail, some are tried again.
      const run: Run = ({ job }) =>
        Effect.gen(function* () {
          count++
          yield* Effect.sleep(100 * (count % 13))
          if (count % 7 === 0) return yield* new JobRunner.JobRunnerError({ message: "later", isRetryable: true })
          if (count % 5 === 0) return yield* Effect.die(job.id)
          return done
        })
      yield* runAll(run, { maxInFlight: 7 }).pipe(Effect.provide(watchful))
      assert.strictEqual(seen.most, 7)
      assert.isAbove(seen.requests, 300)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("takes jobs by priority, then by age", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const now = yield* Clock.currentTimeMillis
      const ago = (seconds: number) => DateTime.makeUnsafe(now - seconds * 1000)
      yield* emulator.addJobs([
        { queueKey: "q", id: "low", priority: -1, scheduledAt: ago(90) },
        { queueKey: "q", id: "young", scheduledAt: ago(10) },
        { queueKey: "q", id: "old", scheduledAt: ago(60) },
        { queueKey: "q", id: "high", priority: 5, scheduledAt: ago(1) },
        { queueKey: "q", id: "old-too", scheduledAt: ago(60) }
      ])
      const order: Array<string> = []
      yield* runAll(
        ({ job }) =>
          Effect.sync(() => {
            order.push(job.id)
            return done
          }),
        { maxInFlight: 1 }
      )
      assert.deepStrictEqual(order, ["high", "old", "old-too", "young", "low"])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("takes an urgent job before all waiting jobs", () =>
    Effect.gen(function* () {
      const ids = yield* addJobs(50)
      const order: Array<string> = []
      const run: Run = ({ job }) =>
        Effect.suspend(() => {
          order.push(job.id)
          return Effect.as(Effect.sleep("10 seconds"), done)
        })
      yield* start(run, { maxInFlight: 1 })
      yield* TestClock.adjust("15 seconds")
      const [urgent] = yield* addJobs(1, { priority: 1 })
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(order, [ids[0], ids[1], urgent])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("does not start a job before its runnableAt", () =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      yield* addJobs(1, { runnableAt: DateTime.makeUnsafe(now + 60_000) })
      const startedAt: Array<number> = []
      const { passed } = yield* runAll(() =>
        Effect.map(Clock.currentTimeMillis, (at) => {
          startedAt.push(at - now)
          return done
        })
      )
      assert.lengthOf(startedAt, 1)
      assert.isAtLeast(startedAt[0] ?? 0, 60_000)
      assert.isAtMost(startedAt[0] ?? 0, 61_000)
      assert.isDefined(passed)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("takes only jobs whose rules its tags meet, and is idle when only others are left", () =>
    Effect.gen(function* () {
      yield* addJobs(3, { agentQueryRules: ["os=linux", "gpu=*"] })
      yield* addJobs(2, { agentQueryRules: ["os=mac"] })
      yield* runAll(takes(0), { tags: { os: "linux", gpu: "a100" } })
      assert.deepStrictEqual(yield* census, { "finished 0": 3, scheduled: 2 })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("starts nothing while the queue is paused, and continues when it resumes", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(10)
      const stack = yield* start(takes("30 seconds"), { maxInFlight: 2 })
      yield* TestClock.adjust("1 second")
      yield* emulator.pauseQueue("q", true)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* census, { "finished 0": 2, scheduled: 8 })
      assert.isTrue((yield* stack.status).isPaused)
      const polled = yield* countOf("listScheduledJobs")
      yield* TestClock.adjust("10 minutes")
      assert.isAtLeast((yield* countOf("listScheduledJobs")) - polled, 590)
      assert.deepStrictEqual(
        (yield* emulator.stacks).map(({ state }) => state),
        ["connected"]
      )
      yield* emulator.pauseQueue("q", false)
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(yield* census, { "finished 0": 10 })
      assert.deepStrictEqual(
        stack.names().filter((name) => name === "Paused" || name === "Resumed"),
        ["Paused", "Resumed"]
      )
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("uses added slots at once, and stops no job when slots are removed", () =>
    Effect.gen(function* () {
      yield* addJobs(100)
      const stack = yield* start(takes("10 seconds"), { maxInFlight: 2 })
      const inFlight = Effect.map(stack.status, (status) => status.inFlight.length)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* inFlight, 2)
      yield* stack.setMaxInFlight(8)
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(yield* inFlight, 8)
      yield* stack.setMaxInFlight(3)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* inFlight, 8)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* inFlight, 3)
      yield* stack.setMaxInFlight(0)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* inFlight, 0)
      assert.strictEqual((yield* stack.status).maxInFlight, 0)
      assert.isUndefined((yield* census)["reserved"])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("shares a queue of 5,000 jobs with another stack, and each job runs once", () =>
    Effect.gen(function* () {
      yield* addJobs(5000)
      const runs = new Map<string, Array<string>>()
      const run: Run = ({ job, stackKey }) =>
        Effect.suspend(() => {
          runs.set(job.id, [...(runs.get(job.id) ?? []), stackKey])
          return Effect.as(Effect.sleep("1 second"), done)
        })
      const one = (key: string) =>
        Stack.runUntilIdle({ key, queueKey: "q", maxInFlight: 100 }).pipe(Effect.provide(JobRunner.layer(run)))
      yield* within("1 hour", Effect.all([one("a"), one("b")], { concurrency: 2 }))
      assert.deepStrictEqual(yield* census, { "finished 0": 5000 })
      const stacks = Array.from(runs.values())
      assert.lengthOf(
        stacks.filter((keys) => keys.length === 1),
        5000
      )
      for (const key of ["a", "b"]) assert.isAbove(stacks.filter(([by]) => by === key).length, 1000)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("reserves n jobs with n / 1000 requests if there are enough slots", () =>
    Effect.gen(function* () {
      yield* addJobs(4500)
      yield* runAll(takes("1 minute"), { maxInFlight: 5000 })
      assert.deepStrictEqual(yield* census, { "finished 0": 4500 })
      assert.strictEqual(yield* countOf("batchReserveJobs"), 5)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("does not read all of a long queue while its slots are taken or the queue is paused", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(20_000)
      const stack = yield* start(takes("1 hour"), { maxInFlight: 25 })
      yield* TestClock.adjust("10 seconds")
      const whileTaken = yield* countOf("listScheduledJobs")
      assert.isAtMost(whileTaken, 22)
      yield* emulator.pauseQueue("q", true)
      yield* stack.setMaxInFlight(10_000)
      yield* TestClock.adjust("10 seconds")
      assert.isAtMost((yield* countOf("listScheduledJobs")) - whileTaken, 12)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("starts a job within a poll interval if slots are free", () =>
    Effect.gen(function* () {
      const waits: Array<number> = []
      yield* start(({ job }) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          waits.push(now - DateTime.toEpochMillis(job.scheduledAt))
          return done
        })
      )
      for (let i = 0; i < 50; i++) {
        yield* addJobs(1)
        yield* TestClock.adjust(137)
      }
      yield* TestClock.adjust("1 second")
      assert.lengthOf(waits, 50)
      assert.isAtMost(Math.max(...waits), 1000)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("does not reserve a job again that a slow response lists after it has run", () =>
    Effect.gen(function* () {
      yield* addJobs(20)
      const slow = clientVia(({ url }, response) =>
        url.includes("/scheduled-jobs?") || url.endsWith("/scheduled-jobs")
          ? Effect.tap(response, Effect.sleep(700))
          : response
      )
      yield* Effect.gen(function* () {
        const stack = yield* start(takes(450), { maxInFlight: 5 })
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* census, { "finished 0": 20 })
        assert.notInclude(stack.names(), "NotReserved")
      }).pipe(Effect.provide(slow))
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("runs for the lifetime of its layer", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      const layer = Stack.layer({ key: "s", queueKey: "q" }).pipe(Layer.provide(JobRunner.layer(takes(1))))
      const { exit } = yield* within(
        "1 minute",
        Effect.gen(function* () {
          const stack = yield* Stack.Stack
          yield* stack.awaitIdle
          return (yield* stack.status).phase
        }).pipe(Effect.provide(layer))
      )
      assert.deepStrictEqual(exit, Exit.succeed("running" as const))
      assert.strictEqual((yield* jobOf(id)).state, "finished")
      assert.isEmpty(yield* emulator.stacks)
    }).pipe(Effect.provide(emulated()))
  )
})
