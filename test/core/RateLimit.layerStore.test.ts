import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import {
  type Call,
  clientOf,
  finish,
  flood,
  forkCalls,
  getJob,
  getStates,
  list,
  memoryStore,
  mostInASecond,
  processOf,
  service
} from "../support/rateLimit.ts"
import { testClock } from "../support/testClock.ts"

describe("RateLimit.layerStore", () => {
  const cases: ReadonlyArray<readonly [name: string, call: Call, limit: number, seconds: number, used: number]> = [
    ["listScheduledJobs", list, 10, 30, 0.9],
    ["getJobStates", getStates, 20, 30, 0.9],
    ["finishJob", finish, 100, 10, 0.9],
    ["getJob", getJob, 1000, 4, 0.9]
  ]
  for (const [name, call, limit, seconds, used] of cases) {
    it.effect(`keeps ${name} of three processes to ${limit} in any second together`, () =>
      Effect.gen(function* () {
        // The ways to the service differ by up to 50 milliseconds.
        const delays = Effect.map(Random.nextIntBetween(0, 50), (there) => ({ there }))
        const { scripted, times } = service(() => delays)
        const store = yield* memoryStore
        for (let index = 0; index < 3; index++) {
          yield* flood(yield* clientOf(scripted, { limiter: yield* processOf(store) }), call, limit)
        }
        yield* TestClock.adjust(Duration.seconds(seconds))
        assert.isAtMost(mostInASecond(times()), limit)
        assert.isAtLeast(times().length, used * limit * seconds)
      }).pipe(Random.withSeed("store"), Effect.provide(testClock))
    )
  }

  it.effect("gives each process a share", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const services = [service(), service(), service()]
      for (const { scripted } of services) {
        yield* flood(yield* clientOf(scripted, { limiter: yield* processOf(store) }), list, 10)
      }
      yield* TestClock.adjust("30 seconds")
      for (const { counted } of services) assert.isAtLeast(counted.length, 80)
    })
  )

  it.effect("admits a process that calls later in turn", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const busy = service()
      const quiet = service()
      yield* flood(yield* clientOf(busy.scripted, { limiter: yield* processOf(store) }), list, 100)
      const client = yield* clientOf(quiet.scripted, { limiter: yield* processOf(store) })
      yield* TestClock.adjust("10 seconds")
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("300 millis")
      assert.lengthOf(quiet.times(), 1)
    })
  )

  it.effect("admits 400 processes that call at the same time, one after the other", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const { scripted, times } = service()
      for (let index = 0; index < 400; index++) {
        const limiter = yield* processOf(store, { processes: 400 })
        yield* forkCalls(yield* clientOf(scripted, { limiter }), list, 1)
      }
      yield* TestClock.adjust("45 seconds")
      assert.lengthOf(times(), 400)
      assert.isAtMost(mostInASecond(times()), 10)
    }).pipe(Effect.provide(testClock))
  )

  it.effect("applies RateLimit-Limit, and pauses on Retry-After", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => ({
        headers: index === 0 ? { "retry-after": "5", "ratelimit-limit": "40" } : { "ratelimit-limit": "40" }
      }))
      const client = yield* clientOf(scripted, { limiter: yield* processOf(yield* memoryStore) })
      yield* flood(client, list, 100)
      yield* TestClock.adjust("15 seconds")
      const [first, second] = times()
      assert.deepStrictEqual([first, second], [0, 5000])
      assert.isAtMost(mostInASecond(times()), 40)
      assert.isAtLeast(times().length, 0.85 * 40 * 10)
    })
  )

  it.effect("takes no tokens for a call that is interrupted while it waits", () =>
    Effect.gen(function* () {
      const store = yield* memoryStore
      const { scripted, times } = service()
      const client = yield* clientOf(scripted, { limiter: yield* processOf(store) })
      const fibers = yield* forkCalls(client, list, 500)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.interruptAll(fibers)
      const before = times().length
      const other = yield* clientOf(scripted, { limiter: yield* processOf(store) })
      yield* flood(other, list, 30)
      yield* TestClock.adjust("10 seconds")
      assert.isAtMost(mostInASecond(times()), 10)
      assert.isAtLeast(times().length - before, 85)
    })
  )

  it.effect("keeps to the limit if the service stalls and gets many requests at once", () =>
    Effect.gen(function* () {
      const standstill = Effect.map(Clock.currentTimeMillis, (now) => ({
        there: now > 5000 && now % 5000 < 400 ? 400 - (now % 5000) : 0
      }))
      const { scripted, times } = service(() => standstill)
      const store = yield* memoryStore
      for (let index = 0; index < 3; index++) {
        yield* flood(yield* clientOf(scripted, { limiter: yield* processOf(store) }), list, 10)
      }
      yield* TestClock.adjust("60 seconds")
      assert.isAtMost(mostInASecond(times()), 10)
      assert.isAtLeast(times().length, 0.8 * 10 * 60)
    })
  )
})
