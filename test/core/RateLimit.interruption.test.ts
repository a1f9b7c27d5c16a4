import { assert, describe, it } from "@effect/vitest"
import { RateLimit } from "@stacksapi/core"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { clientOf, forkCalls, limiterOf, list, service } from "../support/rateLimit.ts"

describe("RateLimit, if a call is interrupted", () => {
  it.effect("while it waits, admits the next waiter", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 10)
      const waiting = yield* Effect.forEach(["a", "b", "c", "d"], (startCursor) =>
        Effect.forkScoped(client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "q", startCursor }))
      )
      yield* TestClock.adjust("500 millis")
      yield* Fiber.interruptAll([waiting[0], waiting[2]].filter((fiber) => fiber !== undefined))
      yield* TestClock.adjust("505 millis")
      assert.isTrue(waiting.every((fiber) => fiber.pollUnsafe() !== undefined))
      assert.strictEqual(counted.length, 12)
      // The two that left took nothing: eight more are free.
      yield* forkCalls(client, list, 9)
      yield* TestClock.adjust(0)
      assert.strictEqual(counted.length, 20)
    })
  )

  it.effect("while it waits, with all others, keeps no waiters", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* clientOf(scripted)
      const fibers = yield* forkCalls(client, list, 500)
      yield* TestClock.adjust("500 millis")
      yield* Fiber.interruptAll(fibers)
      yield* TestClock.adjust("505 millis")
      yield* forkCalls(client, list, 11)
      yield* TestClock.adjust(0)
      assert.lengthOf(times(), 20)
    })
  )

  it.effect("at the moment of its admission, does not lose the admission", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 10)
      const unlucky = yield* forkCalls(client, list, 10)
      yield* TestClock.adjust("500 millis")
      yield* Effect.forkScoped(Effect.andThen(Effect.sleep("505 millis"), Fiber.interruptAll(unlucky)))
      yield* TestClock.adjust("505 millis")
      const sent = times().length
      yield* forkCalls(client, list, 30)
      yield* TestClock.adjust(0)
      assert.strictEqual(times().length, 20, `${sent} had been sent`)
    })
  )

  it.effect("in flight, counts it for two more seconds", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => ({ there: index < 10 ? 900 : 0 }))
      const client = yield* clientOf(scripted)
      const fibers = yield* forkCalls(client, list, 10)
      yield* TestClock.adjust("100 millis")
      yield* Fiber.interruptAll(fibers)
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("1999 millis")
      assert.deepStrictEqual(times(), [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(times(), [2100])
    })
  )

  it.effect("while its response is read, counts it from the response's headers on", () =>
    Effect.gen(function* () {
      const { scripted, times } = service()
      const read = yield* Deferred.make<void>()
      const limiter = yield* limiterOf(RateLimit.layerMemory)
      const slow: RateLimit.Limiter = {
        limit: (call, attempt) => limiter.limit(call, (observe) => Effect.tap(attempt(observe), Deferred.await(read)))
      }
      const client = yield* clientOf(scripted, { limiter: slow })
      yield* forkCalls(client, list, 20)
      yield* TestClock.adjust("1005 millis")
      assert.lengthOf(times(), 20)
    })
  )
})
