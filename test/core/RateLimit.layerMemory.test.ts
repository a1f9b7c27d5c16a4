import { assert, describe, it } from "@effect/vitest"
import { RateLimit, RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Duration, Effect, Layer, Random } from "effect"
import { TestClock } from "effect/testing"
import {
  type Call,
  clientOf,
  deregister,
  finish,
  flood,
  forkCalls,
  getJob,
  getStates,
  list,
  mostInASecond,
  notify,
  register,
  reserve,
  service
} from "../support/rateLimit.ts"
import * as Scripted from "../support/scripted.ts"
import { testClock } from "../support/testClock.ts"

describe("RateLimit without a layer", () => {
  it.effect("does not limit calls", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* Scripted.client(scripted)
      yield* forkCalls(client, list, 50)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(times(), Array(50).fill(0))
    })
  )
})

describe("RateLimit.layerMemory", () => {
  const limits: ReadonlyArray<readonly [name: string, call: Call, limit: number, seconds: number]> = [
    ["listScheduledJobs", list, 10, 30],
    ["batchReserveJobs", reserve, 10, 30],
    ["getJob", getJob, 1000, 3],
    ["getJobStates", getStates, 20, 30],
    ["finishJob", finish, 100, 10],
    ["createStackNotifications", notify, 200, 5],
    ["registerStack", register, 10, 30],
    ["deregisterStack", deregister, 10, 30]
  ]

  for (const [name, call, limit, seconds] of limits) {
    it.effect(`keeps ${name} to ${limit} in any second, and uses 95 % of that`, () =>
      Effect.gen(function* () {
        const { scripted, times } = service()
        yield* flood(yield* clientOf(scripted), call, 2 * limit)
        yield* TestClock.adjust(Duration.seconds(seconds))
        assert.strictEqual(mostInASecond(times()), limit)
        assert.isAtLeast(times().length, 0.95 * limit * seconds)
      }).pipe(Effect.provide(testClock))
    )
  }

  it.effect("gets no 429 from the emulator", () =>
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
      for (const call of [list, reserve, getStates, finish]) yield* flood(client, call, 30)
      yield* TestClock.adjust("20 seconds")
      const emulator = yield* StacksEmulator.StacksEmulator
      const requests = yield* emulator.requests
      assert.deepStrictEqual(
        requests.filter(({ status }) => status === 429),
        []
      )
      assert.isAtLeast(requests.length, 0.95 * 20 * (10 + 10 + 20 + 100))
    }).pipe(
      Effect.provide(
        StacksEmulator.layerClient.pipe(
          Layer.provideMerge(StacksEmulator.layer({ rateLimits: true })),
          Layer.provideMerge(RateLimit.layerMemory),
          Layer.provideMerge(RetryPolicy.layerNone),
          Layer.provideMerge(testClock)
        )
      )
    )
  )

  for (const seed of [1, 2, 3]) {
    it.effect(`keeps to the limit with random latencies (seed ${seed})`, () =>
      Effect.gen(function* () {
        const delays = Effect.map(
          Effect.all([Random.nextIntBetween(0, 400), Random.nextIntBetween(0, 400)]),
          ([there, back]) => ({ there, back })
        )
        const { scripted, times } = service(() => delays)
        yield* flood(yield* clientOf(scripted), getStates, 60)
        yield* TestClock.adjust("60 seconds")
        assert.isAtMost(mostInASecond(times()), 20)
        // A round trip of 0.4 seconds leaves 1 / 1.4 of the limit.
        assert.isAtLeast(times().length, (0.95 * 20 * 60) / 1.4)
      }).pipe(Random.withSeed(seed))
    )
  }

  it.effect("keeps to the limit if many requests have no response", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => ({
        there: (index * 37) % 300,
        back: index % 3 === 0 ? 5000 : 0
      }))
      yield* flood(yield* clientOf(scripted, { timeout: "200 millis" }), getStates, 60)
      yield* TestClock.adjust("60 seconds")
      assert.isAtMost(mostInASecond(times()), 20)
      assert.isAbove(times().length, 300)
    })
  )

  it.effect("counts each stack and each scope separately", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service()
      const client = yield* clientOf(scripted)
      for (const stackKey of ["a", "b"]) {
        yield* forkCalls(client, (client) => client.listScheduledJobs({ stackKey, clusterQueueKey: "q" }), 11)
        yield* forkCalls(client, (client) => client.batchReserveJobs({ stackKey, jobUuids: ["j"] }), 11)
      }
      yield* TestClock.adjust(0)
      assert.lengthOf(counted, 40)
      yield* TestClock.adjust("2 seconds")
      assert.lengthOf(counted, 44)
    })
  )

  it.effect("counts operations of one scope together", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, register, 6)
      yield* forkCalls(client, deregister, 6)
      yield* TestClock.adjust(0)
      assert.lengthOf(counted, 10)
    })
  )

  it.effect("counts retries like any other request", () =>
    Effect.gen(function* () {
      const { scripted, times } = service(() => ({ status: 503 }))
      const client = yield* clientOf(scripted)
      yield* flood(client, (client) => RetryPolicy.withPolicy(list(client), RetryPolicy.standard), 30)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(mostInASecond(times()), 10)
    })
  )

  it.effect("does not delay calls below the limit", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* clientOf(scripted)
      for (let index = 0; index < 20; index++) {
        yield* list(client)
        yield* TestClock.adjust("101 millis")
      }
      assert.deepStrictEqual(
        times(),
        Array.from({ length: 20 }, (_, index) => index * 101)
      )
    })
  )

  it.effect("admits waiters first in, first out", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service()
      const client = yield* clientOf(scripted)
      const names = Array.from({ length: 2500 }, (_, index) => `job-${index}`)
      yield* Effect.forEach(names, (jobUuid) => Effect.forkScoped(client.getJob({ stackKey: "s", jobUuid })))
      yield* TestClock.adjust("1500 millis")
      yield* Effect.forkScoped(client.getJob({ stackKey: "s", jobUuid: "late" }))
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(
        counted.map(({ path }) => path.replace("s/jobs/", "")),
        [...names, "late"]
      )
    }).pipe(Effect.provide(testClock))
  )

  it.effect("can be provided around a program or beneath a client", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* Scripted.client(scripted)
      yield* Effect.forkScoped(
        Effect.forEach(Array.from({ length: 25 }), () => list(client), { concurrency: "unbounded" }).pipe(
          Effect.provide(RateLimit.layerMemory)
        )
      )
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(times(), [...Array(10).fill(0), ...Array(10).fill(1005), ...Array(5).fill(2010)])
    })
  )

  it.effect("is overridden by layerNone", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, (client) => Effect.provide(list(client), RateLimit.layerNone), 25)
      yield* TestClock.adjust(0)
      assert.lengthOf(times(), 25)
    })
  )
})
