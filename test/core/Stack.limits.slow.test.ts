/** A stack under the documented rate limits: it uses nearly all of them, and is never told that it goes too far. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, RateLimit } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, census, countOf, done, emulated, slowly, start, takes } from "../support/stacks.ts"

const refused = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  return (yield* emulator.requests).filter(({ status }) => status === 429).length
})

const limited = emulated({ rateLimits: true })

describe("A stack under rate limits", () => {
  it.effect("finishes at least 95 jobs per second of a limit of 100, without a 429", () =>
    Effect.gen(function* () {
      yield* addJobs(6000)
      const stack = yield* start(() => Effect.succeed(done), { maxInFlight: 500 })
      yield* TestClock.adjust("2 seconds")
      const { "finished 0": before = 0 } = yield* census
      for (let second = 0; second < 30; second++) yield* TestClock.adjust("1 second")
      const { "finished 0": after = 0 } = yield* census
      assert.isAtLeast(after - before, 30 * 95)
      assert.strictEqual(yield* refused, 0)
      yield* stack.setMaxInFlight(0)
      for (let second = 0; second < 10; second++) yield* TestClock.adjust("1 second")
    }).pipe(Effect.scoped, Effect.provide(limited))
  )

  it.effect("reserves at least 9,500 jobs per second of a limit of 10,000, without a 429", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const count = 50_000
      yield* addJobs(count)
      let acquired = 0
      // When the 5,000th and the 45,000th were: beginning and end are not what is measured.
      const at: Array<number> = []
      const stack = yield* start(
        ({ job }) =>
          Effect.gen(function* () {
            yield* Effect.orDie(emulator.acquireJob(job.id))
            acquired++
            if (acquired === 5000 || acquired === 45_000) at.push(yield* Clock.currentTimeMillis)
            return JobRunner.AgentOwned
          }),
        { maxInFlight: 6000 }
      )
      yield* slowly("6 seconds")
      assert.strictEqual(acquired, count)
      const [from = 0, to = 0] = at
      assert.isAtLeast(40_000 / ((to - from) / 1000), 9500)
      assert.strictEqual(yield* refused, 0)
      assert.notInclude(stack.names(), "RequestFailed")
      // The last of them are still looked at.
      while ((yield* stack.status).inFlight.length > 0) yield* TestClock.adjust("1 second")
    }).pipe(Effect.scoped, Effect.provide(limited))
  )

  it.effect("gets no 429 for any of its requests", () =>
    Effect.gen(function* () {
      yield* addJobs(2000)
      const stack = yield* start(
        ({ acquisitionToken, details, notify }) =>
          Effect.gen(function* () {
            yield* details
            yield* acquisitionToken
            yield* notify("running")
            yield* Effect.sleep("500 millis")
            return done
          }),
        { maxInFlight: 200 }
      )
      for (let second = 0; second < 40; second++) yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 2000 })
      assert.strictEqual(yield* refused, 0)
      assert.notInclude(stack.names(), "RequestFailed")
    }).pipe(Effect.scoped, Effect.provide(limited))
  )

  it.effect("uses the RateLimit of the context or of the client if there is one", () =>
    Effect.gen(function* () {
      yield* addJobs(400)
      yield* start(takes(0), { maxInFlight: 400 })
      yield* slowly("40 millis")
      assert.strictEqual(yield* countOf("finishJob"), 400)
      assert.deepStrictEqual(yield* census, { "finished 0": 400 })
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(emulated(), RateLimit.layerNone)))
  )
})
