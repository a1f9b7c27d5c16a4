/** How a client uses the limiter in force, whichever it is. */
import { assert, describe, it } from "@effect/vitest"
import { RateLimit, RetryPolicy, StacksClient } from "@stacksapi/core"
import { Context, Duration, Effect, Fiber, Layer, Redacted, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { answers, calls, operations } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

interface Heard {
  readonly calls: Array<string>
  readonly observations: Array<RateLimit.Observation>
}

/** A limiter that only listens, after a wait. */
const listening = (wait: Duration.Input = 0) => {
  const heard: Heard = { calls: [], observations: [] }
  const limiter: RateLimit.Limiter = {
    limit: ({ operation, stackKey }, attempt) => {
      heard.calls.push(`${operation} ${stackKey}`)
      return Effect.delay(
        attempt((observation) => void heard.observations.push(observation)),
        wait
      )
    }
  }
  return { heard, limiter, layer: Layer.succeed(RateLimit.RateLimit, limiter) }
}

const clientOver = (service: Scripted.Scripted, limiter: Layer.Layer<never>) =>
  StacksClient.layer({ token: Redacted.make("t"), baseUrl: Scripted.baseUrl }).pipe(
    Layer.provide([service.layer, limiter]),
    Layer.build,
    Effect.map((context) => Context.get(context, StacksClient.StacksClient))
  )

describe("A rate limiter", () => {
  it.effect.each(operations)("hears of a %s and its stack, where it is one of a stack", (operation) =>
    Effect.gen(function* () {
      const { heard, limiter } = listening()
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(404)))
      yield* Effect.exit(calls[operation](client)).pipe(Effect.provideService(RateLimit.RateLimit, limiter))
      assert.deepStrictEqual(heard.calls, [`${operation} ${operation === "getTokenIdentity" ? "" : "my-stack"}`])
    })
  )

  it.effect("admits each attempt, and observes each response", () =>
    Effect.gen(function* () {
      const { heard, limiter } = listening()
      const service = Scripted.make(
        Scripted.inTurn(
          Scripted.json(429, { reset: 3 }, { "RateLimit-Remaining": "0" }),
          Scripted.broken(),
          Scripted.empty(503, { "Retry-After": "2" }),
          Scripted.json(200, answers.getJob.body, { "RateLimit-Remaining": "7", "Retry-After": "1" })
        )
      )
      const client = yield* Scripted.client(service)
      yield* calls
        .getJob(client)
        .pipe(
          RetryPolicy.withPolicy(RetryPolicy.make(Schedule.recurs(5))),
          Effect.provideService(RateLimit.RateLimit, limiter)
        )
      assert.strictEqual(heard.calls.length, 4)
      assert.deepStrictEqual(
        heard.observations.map(({ status }) => status),
        [429, 503, 200]
      )
      assert.deepStrictEqual(
        heard.observations.map(({ headers }) => headers["ratelimit-remaining"]),
        ["0", undefined, "7"]
      )
      // Also where a success asks to slow down.
      assert.deepStrictEqual(
        heard.observations.slice(1).map(({ retryAfter }) => retryAfter),
        [Duration.seconds(2), Duration.seconds(1)]
      )
    })
  )

  it.effect("may delay a call for longer than the timeout of an attempt", () =>
    Effect.gen(function* () {
      const { limiter } = listening("10 minutes")
      const service = Scripted.make(Scripted.json(200, answers.getJob.body))
      const client = yield* Scripted.client(service)
      const call = yield* calls
        .getJob(client)
        .pipe(Effect.provideService(RateLimit.RateLimit, limiter), Effect.forkChild)
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(call)
      assert.strictEqual(service.requests[0]?.at, 600_000)
    })
  )

  it.effect("sends nothing for a call that is interrupted while it waits", () =>
    Effect.gen(function* () {
      const { limiter } = listening("10 minutes")
      const service = Scripted.make(Scripted.json(200, answers.getJob.body))
      const client = yield* Scripted.client(service)
      const call = yield* calls
        .getJob(client)
        .pipe(Effect.provideService(RateLimit.RateLimit, limiter), Effect.forkChild)
      yield* TestClock.adjust("5 minutes")
      yield* Fiber.interrupt(call)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(service.requests.length, 0)
    })
  )

  it.effect("beneath the client limits its calls, unless there is one around the call", () =>
    Effect.gen(function* () {
      const beneath = listening()
      const around = listening()
      const client = yield* clientOver(Scripted.make(Scripted.json(200, answers.getJob.body)), beneath.layer)
      yield* calls.getJob(client)
      yield* Effect.provide(calls.getJob(client), around.layer)
      yield* Effect.provide(calls.getJob(client), RateLimit.layerNone)
      assert.strictEqual(beneath.heard.calls.length, 1)
      assert.strictEqual(around.heard.calls.length, 1)
    })
  )

  it.effect("does not see a request that the client refuses", () =>
    Effect.gen(function* () {
      const { heard, limiter } = listening()
      const client = yield* Scripted.client(Scripted.make(Scripted.empty(200)))
      const call = client.getJob({ stackKey: "", jobUuid: "j" })
      yield* Effect.exit(Effect.provideService(call, RateLimit.RateLimit, limiter))
      assert.deepStrictEqual(heard.calls, [])
    })
  )
})
