/** What comes with a value: the headers, status and rate limit of the response. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Duration, Effect, Fiber, Layer, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { answers, calls, jobUuid } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

const limits = {
  "RateLimit-Scope": "show-job",
  "RateLimit-Limit": "1000",
  "RateLimit-Remaining": "998",
  "RateLimit-Reset": "0.25"
}

const getJob = (client: StacksClient.Service) => client.getJob({ stackKey: "s", jobUuid })

describe("withResponse", () => {
  it.effect("gives value, headers, status, rate limit and attempts", () =>
    Effect.gen(function* () {
      const client = yield* Scripted.client(
        Scripted.make(Scripted.json(200, answers.getJob.body, { ...limits, "Retry-After": "2", "X-Request-Id": "r" }))
      )
      const seen = yield* StacksClient.withResponse(getJob(client))
      assert.strictEqual(seen.value.command, "make test")
      assert.strictEqual(seen.status, 200)
      assert.strictEqual(seen.attempts, 1)
      assert.strictEqual(seen.headers["retry-after"], "2")
      assert.strictEqual(seen.headers["x-request-id"], "r")
      assert.deepStrictEqual(seen.rateLimit, {
        scope: "show-job",
        limit: 1000,
        remaining: 998,
        reset: Duration.millis(250)
      })
    })
  )

  it.effect("gives no rate limit if the headers are invalid", () =>
    Effect.gen(function* () {
      const nonsense = { "RateLimit-Limit": "soon", "RateLimit-Remaining": "Infinity", "RateLimit-Reset": "1e999" }
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(204, nonsense)))
      const seen = yield* StacksClient.withResponse(calls.deregisterStack(client))
      assert.isUndefined(seen.value)
      assert.strictEqual(seen.status, 204)
      assert.deepStrictEqual(seen.rateLimit, {
        scope: undefined,
        limit: undefined,
        remaining: undefined,
        reset: undefined
      })
    })
  )

  it.effect("gives the last response and the number of attempts after a retry", () =>
    Effect.gen(function* () {
      const service = Scripted.make(
        Scripted.inTurn(
          Scripted.empty(503, { "x-which": "first" }),
          Scripted.broken(),
          Scripted.json(200, answers.getJob.body, { "x-which": "third" })
        )
      )
      const client = yield* Scripted.client(service)
      const seen = yield* StacksClient.withResponse(getJob(client)).pipe(
        RetryPolicy.withPolicy(RetryPolicy.make(Schedule.recurs(5)))
      )
      assert.strictEqual(seen.attempts, 3)
      assert.strictEqual(seen.headers["x-which"], "third")
    })
  )

  it.effect("gives the response of the last of several calls", () =>
    Effect.gen(function* () {
      const service = Scripted.make((request) =>
        request.method === "GET"
          ? Scripted.json(200, answers.getJob.body, { "x-which": "job" })(request, 0)
          : Scripted.empty(204, { "x-which": "left" })(request, 0)
      )
      const client = yield* Scripted.client(service)
      const seen = yield* StacksClient.withResponse(Effect.andThen(getJob(client), calls.deregisterStack(client)))
      assert.strictEqual(seen.headers["x-which"], "left")
    })
  )

  it.effect("gives status 0 for an effect without calls", () =>
    Effect.gen(function* () {
      const seen = yield* StacksClient.withResponse(Effect.succeed(1))
      assert.strictEqual(seen.value, 1)
      assert.strictEqual(seen.status, 0)
      assert.strictEqual(seen.attempts, 0)
      assert.deepStrictEqual({ ...seen.headers }, {})
    })
  )

  it.effect("records each run separately, also concurrent runs", () =>
    Effect.gen(function* () {
      const service = Scripted.make((request, index) =>
        Effect.delay(
          Effect.suspend(() => {
            const answered = Scripted.json(200, answers.getJob.body, { "x-index": String(index) })(request, index)
            return Effect.isEffect(answered) ? answered : Effect.succeed(answered)
          }),
          Duration.millis(100 - index)
        )
      )
      const client = yield* Scripted.client(service)
      const call = StacksClient.withResponse(getJob(client))
      const fiber = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 20 }, () => call),
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust("1 second")
      const all = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        all.map(({ headers }) => headers["x-index"]),
        Array.from({ length: 20 }, (_, index) => String(index))
      )
    })
  )

  it.effect("gives the endpoint's scope with the emulator", () =>
    Effect.gen(function* () {
      const client = yield* StacksClient.StacksClient
      yield* client.registerStack({ key: "s", type: "custom", queueKey: "q" })
      const seen = yield* StacksClient.withResponse(client.listScheduledJobs({ stackKey: "s", clusterQueueKey: "q" }))
      assert.strictEqual(seen.rateLimit.scope, "list-scheduled-jobs")
      assert.strictEqual(seen.rateLimit.limit, 10)
    }).pipe(
      Effect.provide(StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer({ rateLimits: true }))))
    )
  )
})
