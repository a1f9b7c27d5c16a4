import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Metric } from "effect"
import { RateLimiter } from "effect/persistence"
import { TestClock } from "effect/testing"
import {
  clientOf,
  flood,
  getStates,
  list,
  memoryStore,
  mostInASecond,
  processOf,
  service
} from "../support/rateLimit.ts"

describe("RateLimit.layerStore, if the store", () => {
  const broken = new RateLimiter.RateLimiterError({
    reason: new RateLimiter.RateLimitStoreError({ message: "connection lost", cause: undefined })
  })
  const collected = () => {
    const warnings: Array<unknown> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn") warnings.push(message)
    })
    return { warnings, layer: Logger.layer([logger]) }
  }
  const unreliable = Effect.fnUntraced(function* (
    failure: Effect.Effect<readonly [number, number], RateLimiter.RateLimiterError>
  ) {
    const store = yield* memoryStore
    const state = { isDown: false, asked: 0 }
    const limiter = yield* processOf({
      ...store,
      tokenBucket: (options) =>
        Effect.suspend(() => {
          state.asked++
          return state.isDown ? failure : store.tokenBucket(options)
        })
    })
    return { limiter, state }
  })

  const failures = [
    ["fails", Effect.fail(broken)],
    ["does not answer", Effect.never],
    ["has a defect", Effect.die("bug")]
  ] as const
  for (const [name, failure] of failures) {
    it.effect(`${name}, calls use a quarter of the limit, with one warning`, () => {
      const { layer, warnings } = collected()
      return Effect.gen(function* () {
        const { limiter, state } = yield* unreliable(failure)
        const { scripted, times } = service()
        yield* flood(yield* clientOf(scripted, { limiter }), getStates, 50)
        yield* TestClock.adjust("5 seconds")
        assert.lengthOf(warnings, 0)
        state.isDown = true
        yield* TestClock.adjust("5 seconds")
        const before = times().length
        const asked = state.asked
        yield* TestClock.adjust("30 seconds")
        const sent = times().length - before
        assert.isAtMost(sent, 5 * 30)
        assert.isAtLeast(sent, 0.75 * 5 * 30)
        assert.isAtMost(state.asked - asked, 16)
        assert.lengthOf(warnings, 1)
        assert.isAtMost(mostInASecond(times()), 20)

        state.isDown = false
        yield* TestClock.adjust("8 seconds")
        const recovered = times().length
        yield* TestClock.adjust("10 seconds")
        assert.isAtLeast(times().length - recovered, 0.9 * 20 * 10)
        assert.isAtMost(mostInASecond(times()), 20)
        state.isDown = true
        yield* TestClock.adjust("5 seconds")
        assert.lengthOf(warnings, 2)
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect("fails and recovers, three processes never exceed the limit, and use all of it again", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const { scripted, times } = service()
      let isDown = false
      for (const failure of [Effect.fail(broken), Effect.fail(broken), Effect.never]) {
        const limiter = yield* processOf(
          {
            ...store,
            tokenBucket: (options) => Effect.suspend(() => (isDown ? failure : store.tokenBucket(options)))
          },
          { processes: 3 }
        )
        yield* flood(yield* clientOf(scripted, { limiter }), list, 10)
      }
      for (const downMillis of [700, 3000, 5300, 20_000]) {
        yield* TestClock.adjust("10 seconds")
        isDown = true
        const before = times().length
        yield* TestClock.adjust(downMillis)
        // What is not lost to the change is the share of all three: 9 of 10.
        assert.isAtLeast(times().length - before, ((downMillis - 3000) / 1000) * 9)
        isDown = false
      }
      yield* TestClock.adjust("10 seconds")
      const recovered = times().length
      yield* TestClock.adjust("10 seconds")
      assert.isAtLeast(times().length - recovered, 90)
      assert.isAtMost(mostInASecond(times()), 10)
    }).pipe(Effect.provide(Logger.layer([])))
  )

  it.effect("fails, more processes than requests in the limit stay within it", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const gone = { ...(yield* memoryStore), tokenBucket: () => Effect.fail(broken) }
      for (let index = 0; index < 20; index++) {
        // They don't all start in one moment.
        yield* TestClock.adjust(97)
        yield* flood(yield* clientOf(scripted, { limiter: yield* processOf(gone, { processes: 20 }) }), list, 3)
      }
      yield* TestClock.adjust("30 seconds")
      assert.isAtMost(mostInASecond(times()), 10 + 1)
      assert.isAtLeast(times().length, 0.9 * 10 * 30)
    }).pipe(Effect.provide(Logger.layer([])))
  )

  it.effect("is slow, calls stay within the limit", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const { scripted, times } = service()
      for (let index = 0; index < 3; index++) {
        const limiter = yield* processOf({
          ...store,
          tokenBucket: (options) => Effect.delay(store.tokenBucket(options), 600)
        })
        yield* flood(yield* clientOf(scripted, { limiter }), list, 10)
      }
      yield* TestClock.adjust("30 seconds")
      assert.isAtMost(mostInASecond(times()), 10)
      // Each process has one question under way at a time.
      assert.isAtLeast(times().length, (3 / 0.6) * 30 * 0.8)
    })
  )

  it.effect("has a wrong clock, calls do not wait for it", () =>
    Effect.gen(function* () {
      const { limiter, state } = yield* unreliable(Effect.succeed([-1000, 0] as const))
      const { scripted, times } = service()
      state.isDown = true
      yield* flood(yield* clientOf(scripted, { limiter }), list, 3)
      yield* TestClock.adjust("10 seconds")
      assert.isAtLeast(times().length, 16)
    }).pipe(Effect.provide(Logger.layer([])))
  )

  it.effect("fails, metrics show it", () =>
    Effect.gen(function* () {
      const { limiter, state } = yield* unreliable(Effect.fail(broken))
      const values = Effect.map(Metric.snapshot, (metrics) =>
        ["stacksapi_rate_limit_store_up", "stacksapi_rate_limit_store_outages"].map(
          (id) => metrics.find((metric) => metric.id === id)?.state
        )
      )
      assert.deepStrictEqual(yield* values, [{ value: 1 }, { count: 0, incremental: true }])
      const { scripted } = service()
      yield* flood(yield* clientOf(scripted, { limiter }), list, 3)
      state.isDown = true
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* values, [{ value: 0 }, { count: 1, incremental: true }])
      state.isDown = false
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* values, [{ value: 1 }, { count: 1, incremental: true }])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()), Effect.provide(Logger.layer([])))
  )
})
