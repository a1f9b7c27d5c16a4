import { assert, describe, it } from "@effect/vitest"
import { ScheduledJobs, StacksClient } from "@stacksapi/core"
import { Clock, DateTime, Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { scheduledJob } from "../support/samples.ts"
import { page, request } from "../support/scheduledJobs.ts"
import * as Scripted from "../support/scripted.ts"

describe("ScheduledJobs, the service's clock", () => {
  const hour = 3_600_000

  /** When a watch gives a job, in milliseconds from its start, while our clock differs from the service's. */
  const givenAfter = Effect.fnUntraced(function* (skew: number, runnableIn: number, startAt = 10 * hour + 300) {
    yield* TestClock.setTime(startAt)
    const service = Scripted.make((sent, index) => {
      const theirs = sent.at + skew
      const job = { ...scheduledJob, runnable_at: new Date(startAt + skew + runnableIn).toISOString() }
      return Scripted.json(200, { ...page([]), jobs: [job] }, { Date: new Date(theirs).toUTCString() })(sent, index)
    })
    const fiber = yield* ScheduledJobs.watch({ ...request, interval: "1 second" }).pipe(
      Stream.take(1),
      Stream.runDrain,
      Effect.andThen(DateTime.now),
      Effect.provide(Layer.effect(StacksClient.StacksClient, Scripted.client(service))),
      Effect.forkChild
    )
    yield* TestClock.adjust("1 minute")
    return DateTime.toEpochMillis(yield* Fiber.join(fiber)) - startAt
  })

  it.effect("decides whether a job may start if the machine's clock is behind", () =>
    Effect.gen(function* () {
      for (const skew of [8000, hour, 24 * hour]) {
        // A second before it began to watch: the header is not that exact.
        assert.strictEqual(yield* givenAfter(skew, -1000), 0)
        assert.isAtMost(yield* givenAfter(skew, 0), 1000)
        const after = yield* givenAfter(skew, 5000)
        assert.isTrue(after >= 5000 && after <= 6000, String(after))
      }
    })
  )

  it.effect("decides whether a job may start if the machine's clock is ahead: none starts too early", () =>
    Effect.gen(function* () {
      for (const skew of [-8000, -hour]) {
        for (const startAt of [10 * hour, 10 * hour + 1, 10 * hour + 999]) {
          const after = yield* givenAfter(skew, 5000, startAt)
          assert.isTrue(after >= 5000 && after <= 6000, String(after))
        }
      }
    })
  )

  it.effect("delays no job if the machine's clock is right, although the header has whole seconds", () =>
    Effect.gen(function* () {
      for (const startAt of [10 * hour, 10 * hour + 1, 10 * hour + 500, 10 * hour + 999]) {
        assert.strictEqual(yield* givenAfter(0, 0, startAt), 0)
        assert.strictEqual(yield* givenAfter(0, 3000, startAt), 3000)
      }
    })
  )

  it.effect("may be set during a watch, like the machine's clock", () =>
    Effect.gen(function* () {
      const base = yield* Clock.Clock
      for (const jump of [-hour, hour]) {
        const start = base.currentTimeMillisUnsafe()
        let [offset, skew] = [0, 0]
        const set: Clock.Clock = {
          ...base,
          currentTimeMillisUnsafe: () => base.currentTimeMillisUnsafe() + offset,
          currentTimeMillis: Effect.sync(() => base.currentTimeMillisUnsafe() + offset)
        }
        const seen: Array<number> = []
        const service = Scripted.make((sent, index) => {
          const elapsed = sent.at - offset - start
          if (index === 3) offset = jump
          if (index === 6) skew = jump
          const jobs = [10_000, 20_000].map((at) => ({
            ...scheduledJob,
            id: `${at}`,
            runnable_at: new Date(start + at + skew).toISOString()
          }))
          const theirs = new Date(start + elapsed + skew).toUTCString()
          return Scripted.json(200, { ...page([]), jobs }, { Date: theirs })(sent, index)
        })
        yield* ScheduledJobs.watch(request).pipe(
          Stream.runForEach(() => Effect.sync(() => seen.push(base.currentTimeMillisUnsafe() - start))),
          Effect.provide(Layer.effect(StacksClient.StacksClient, Scripted.client(service))),
          Effect.provideService(Clock.Clock, set),
          Effect.forkChild
        )
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(seen.length, 2)
        for (const [index, at] of [10_000, 20_000].entries()) {
          const after = seen[index] ?? 0
          assert.isTrue(after >= at && after <= at + 1000, `${after}`)
        }
      }
    })
  )

  it.effect("is the machine's clock if there is no Date header", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(hour)
      const job = { ...scheduledJob, runnable_at: new Date(hour + 2500).toISOString() }
      for (const date of ["", "now", "12"]) {
        const service = Scripted.make(Scripted.json(200, { ...page([]), jobs: [job] }, { Date: date }))
        const fiber = yield* ScheduledJobs.watch(request).pipe(
          Stream.take(1),
          Stream.runDrain,
          Effect.provide(Layer.effect(StacksClient.StacksClient, Scripted.client(service))),
          Effect.forkChild
        )
        yield* TestClock.adjust("3 seconds")
        yield* Fiber.join(fiber)
      }
    })
  )
})
