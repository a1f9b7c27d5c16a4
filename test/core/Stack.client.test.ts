/** A stack's client may be a decorated one: what it came with stays in force. */
import { assert, describe, it } from "@effect/vitest"
import { JobStates, RateLimit, RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, census, clientVia, countOf, emulated, slowly, start, takes } from "../support/stacks.ts"
import { testClock } from "../support/testClock.ts"

/** A limiter that only counts. */
const counting = () => {
  const calls = new Map<string, number>()
  const limiter: RateLimit.Limiter = {
    limit: ({ operation }, attempt) => {
      calls.set(operation, (calls.get(operation) ?? 0) + 1)
      return attempt(() => undefined)
    }
  }
  return { calls, limiter }
}

/** A client with a limiter of its own, spread into a new object. */
const decorated = (limiter: RateLimit.Limiter) =>
  Layer.effect(
    StacksClient.StacksClient,
    Effect.gen(function* () {
      const { baseUrl, token } = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.make({ baseUrl, token }).pipe(
        Effect.provideService(RateLimit.RateLimit, limiter)
      )
      return { ...client }
    })
  ).pipe(
    Layer.provide(StacksEmulator.layerHttpClient),
    Layer.provideMerge(StacksEmulator.layer()),
    Layer.provideMerge(testClock)
  )

describe("A decorated client", () => {
  it.effect("keeps its rate limiter in a stack", () => {
    const { calls, limiter } = counting()
    return Effect.gen(function* () {
      yield* addJobs(5)
      yield* start(takes("1 second"))
      yield* slowly("5 seconds", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 5 })
      for (const operation of ["registerStack", "listScheduledJobs", "batchReserveJobs", "finishJob"] as const) {
        assert.strictEqual(calls.get(operation), yield* countOf(operation), operation)
      }
    }).pipe(Effect.scoped, Effect.provide(decorated(limiter)))
  })

  it.effect("shares its batched lookups with the original client", () =>
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
      const [first = "", second = ""] = yield* addJobs(2)
      yield* Effect.all(
        [
          JobStates.get("s", first),
          Effect.provideService(JobStates.get("s", second), StacksClient.StacksClient, { ...client })
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* countOf("getJobStates"), 1)
    }).pipe(Effect.provide(emulated()))
  )
})

/** A client whose reads of states have no answer, with the number of those under way. */
const silent = () => {
  const underWay = { count: 0 }
  const layer = clientVia((request, response) =>
    request.url.endsWith("get-states")
      ? Effect.suspend(() => {
          underWay.count++
          return Effect.onInterrupt(Effect.never, () => Effect.sync(() => void underWay.count--))
        })
      : response
  ).pipe(Layer.provideMerge(StacksEmulator.layer()), Layer.provideMerge(testClock))
  return { underWay, layer }
}

describe("Lookups that share a request", () => {
  it.effect("use the retry policy of their own caller", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const client = yield* StacksClient.StacksClient
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
      const [first = "", second = ""] = yield* addJobs(2)
      yield* emulator.setFaults([StacksEmulator.Fault.Status({ status: 503, operations: ["getJobStates"], times: 2 })])
      const impatient = yield* Effect.forkChild(
        Effect.flip(RetryPolicy.withPolicy(JobStates.get("s", first), RetryPolicy.none))
      )
      const patient = yield* Effect.forkChild(JobStates.get("s", second))
      yield* slowly("1 minute", "1 second")
      assert.strictEqual((yield* Fiber.join(impatient))._tag, "ErrorResponse")
      assert.strictEqual(yield* Fiber.join(patient), "scheduled")
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("continue while one caller is left, and stop with the last one", () => {
    const { layer, underWay } = silent()
    return Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
      const [first = "", second = ""] = yield* addJobs(2)
      const one = yield* Effect.forkChild(JobStates.get("s", first))
      const other = yield* Effect.forkChild(JobStates.get("s", second))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(underWay.count, 1)
      yield* Fiber.interrupt(one)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(underWay.count, 1)
      yield* Fiber.interrupt(other)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(underWay.count, 0)
    }).pipe(Effect.provide(layer))
  })
})
