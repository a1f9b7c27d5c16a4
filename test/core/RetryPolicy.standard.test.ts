/** The default policy: the reference client's numbers. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy } from "@stacksapi/core"
import { DateTime, Effect, Fiber, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { answers, calls, operations } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"
import { runToEnd } from "../support/testClock.ts"

/** Retries at once, without end: a fatal answer must stop it. */
const eagerly = RetryPolicy.make(Schedule.forever)

/** When each attempt of a getJob was sent, in milliseconds since the first. */
const attemptTimes = Effect.fnUntraced(function* (answer: Scripted.Answer, policy?: RetryPolicy.Policy) {
  const service = Scripted.make(answer)
  const client = yield* Scripted.client(service)
  const call = calls.getJob(client)
  yield* runToEnd(Effect.exit(policy === undefined ? call : RetryPolicy.withPolicy(call, policy)))
  const start = service.requests[0]?.at ?? 0
  return service.requests.map(({ at }) => at - start)
})

const delays = (times: ReadonlyArray<number>) => times.slice(1).map((time, index) => time - (times[index] ?? 0))

/** `1000 ^ (n / 16 + 1)` milliseconds. */
const formula = [0, 1, 2, 3].map((n) => 1000 ** (n / 16 + 1))

describe("standard", () => {
  it("is the default", () => {
    assert.strictEqual(RetryPolicy.RetryPolicy.defaultValue(), RetryPolicy.standard)
  })

  it.effect.each(operations)("makes 5 attempts in all: %s", (operation) =>
    Effect.gen(function* () {
      const service = Scripted.make((request, index) =>
        // What finishJob asks before it sends again is no attempt.
        request.url.endsWith("/get-states") && operation !== "getJobStates"
          ? Scripted.json(200, { states: {} })(request, index)
          : Scripted.empty(503)(request, index)
      )
      const client = yield* Scripted.client(service)
      const error = yield* Effect.flip(runToEnd(calls[operation](client)))
      assert(error._tag === "ErrorResponse")
      const attempts = service.requests.filter(
        ({ url }) => operation === "getJobStates" || !url.endsWith("/get-states")
      )
      assert.strictEqual(attempts.length, 5)
    })
  )

  it.effect("waits for the documented delays plus 500 to 1000 ms", () =>
    Effect.gen(function* () {
      const seen = new Set<number>()
      for (let seed = 0; seed < 50; seed++) {
        const times = yield* attemptTimes(Scripted.empty(500)).pipe(Random.withSeed(seed))
        for (const [n, delay] of delays(times).entries()) {
          const jitter = delay - (formula[n] ?? 0)
          assert.isAtLeast(jitter, 500)
          assert.isBelow(jitter, 1000)
          seen.add(Math.floor(jitter / 100))
        }
      }
      // The jitter is drawn anew each time, from the whole range.
      assert.deepStrictEqual(Array.from(seen).sort(), [5, 6, 7, 8, 9])
    })
  )

  it.effect("takes its jitter from Random: the same seed gives the same delays", () =>
    Effect.gen(function* () {
      const times = (seed: string) =>
        attemptTimes(Scripted.empty(500)).pipe(
          Random.withSeed(seed),
          Effect.map((times) => times.map(Math.round))
        )
      assert.deepStrictEqual(yield* times("a"), yield* times("a"))
      assert.notDeepEqual(yield* times("a"), yield* times("b"))
    })
  )

  it.effect("counts each call separately", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(500))
      const client = yield* Scripted.client(service)
      const both = Effect.all([Effect.exit(calls.getJob(client)), Effect.exit(calls.getJob(client))], {
        concurrency: 2
      })
      yield* runToEnd(both)
      yield* runToEnd(both)
      assert.strictEqual(service.requests.length, 20)
    })
  )

  it.effect.each([
    ["a 429", Scripted.empty(429)],
    ["a 500", Scripted.empty(500)],
    ["an HTML 502", Scripted.text(502, "<html>Bad gateway</html>", { "content-type": "text/html" })],
    ["a reset connection", Scripted.broken("ECONNRESET")],
    ["a refused connection", Scripted.broken("ECONNREFUSED")],
    ["a timeout", Scripted.silence]
  ] as const)("tries again after %s, and gives the answer", ([, answer]) =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.inTurn(answer, answer, Scripted.json(200, answers.getJob.body)))
      const client = yield* Scripted.client(service)
      const job = yield* runToEnd(client.getJob({ stackKey: "s", jobUuid: "j" }))
      assert.strictEqual(job.command, "make test")
      assert.strictEqual(service.requests.length, 3)
    })
  )

  it.effect.each([
    ["a 400", Scripted.empty(400)],
    ["a 401", Scripted.empty(401)],
    ["a 403", Scripted.empty(403)],
    ["a 404", Scripted.empty(404)],
    ["a 404 with Retry-After", Scripted.empty(404, { "Retry-After": "1" })],
    ["a 422", Scripted.empty(422)],
    ["a redirect", Scripted.empty(302)],
    ["a 200 that is no JSON", Scripted.text(200, "<html>")],
    ["a 200 of another shape", Scripted.json(200, {})]
  ] as const)("does not after %s, whatever the policy", ([, answer]) =>
    Effect.gen(function* () {
      for (const policy of [undefined, eagerly, eagerly.pipe(RetryPolicy.honorRetryAfter())]) {
        assert.deepStrictEqual(yield* attemptTimes(answer, policy), [0])
      }
    })
  )

  it.effect("stops at a fatal response between retryable ones", () =>
    Effect.gen(function* () {
      const times = yield* attemptTimes(Scripted.inTurn(Scripted.empty(500), Scripted.empty(404), Scripted.empty(500)))
      assert.strictEqual(times.length, 2)
    })
  )

  it.effect("sends nothing more after an interruption", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.empty(503))
      const client = yield* Scripted.client(service)
      const call = yield* Effect.forkChild(calls.getJob(client))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(service.requests.length, 2)
      yield* Fiber.interrupt(call)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(service.requests.length, 2)
    })
  )

  it.effect("fails with the last failure", () =>
    Effect.gen(function* () {
      const service = Scripted.make((request, index) =>
        Scripted.json(500, { message: `attempt ${index + 1}` })(request, index)
      )
      const client = yield* Scripted.client(service)
      const error = yield* Effect.flip(runToEnd(calls.getJob(client)))
      assert.match(error.message, /500 attempt 5$/)
    })
  )
})

describe("Retry-After", () => {
  const asks = (value: string, status = 429) => Scripted.empty(status, { "Retry-After": value })

  it.effect("is waited for exactly if it is longer than the computed delay", () =>
    Effect.gen(function* () {
      const times = yield* attemptTimes(
        Scripted.inTurn(asks("2"), asks("4.125", 503), asks("9"), Scripted.json(429, { reset: 7 }), Scripted.empty(500))
      )
      assert.deepStrictEqual(delays(times), [2000, 4125, 9000, 7000])
    })
  )

  it.effect("never makes a delay shorter than the computed one", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 9, 1))
      for (const value of ["0", "0.1", "Mon, 01 Jan 1990 00:00:00 GMT", "-1", "soon"]) {
        const waits = delays(yield* attemptTimes(asks(value, 503)))
        assert.strictEqual(waits.length, 4, value)
        for (const [n, least] of [1500, 2039, 2871, 4151].entries()) {
          assert.isAtLeast(waits[n] ?? 0, least, value)
          assert.isBelow(waits[n] ?? 0, least + 501, value)
        }
      }
    })
  )

  it.effect("sends the retry exactly when Retry-After ends", () =>
    Effect.gen(function* () {
      const service = Scripted.make(Scripted.inTurn(asks("3"), Scripted.json(200, answers.getJob.body)))
      const client = yield* Scripted.client(service)
      const fiber = yield* Effect.forkChild(calls.getJob(client))
      yield* TestClock.adjust(2999)
      assert.strictEqual(service.requests.length, 1)
      yield* TestClock.adjust(1)
      assert.strictEqual(service.requests.length, 2)
      yield* Fiber.join(fiber)
    })
  )

  it.effect("may be a date", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(DateTime.toEpochMillis(DateTime.makeUnsafe("2026-10-01T12:00:00.250Z")))
      const times = yield* attemptTimes(
        Scripted.inTurn(
          asks("Thu, 01 Oct 2026 12:00:10 GMT", 503),
          asks("Mon, 01 Jan 1990 00:00:00 GMT"),
          Scripted.empty(404)
        )
      )
      const [first, second = 0] = delays(times)
      assert.strictEqual(first, 9750)
      assert.isAtLeast(second, 2039)
      assert.isBelow(second, 2540)
    })
  )

  it.effect("is limited to 5 minutes", () =>
    Effect.gen(function* () {
      for (const value of ["301", "86400", "99999999999999999999", "Fri, 01 Jan 2100 00:00:00 GMT"]) {
        const times = yield* attemptTimes(Scripted.inTurn(asks(value), Scripted.empty(404)))
        assert.deepStrictEqual(delays(times), [300_000])
      }
    })
  )

  it.effect("does not change the number of attempts", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(delays(yield* attemptTimes(asks("9"))), [9000, 9000, 9000, 9000])
    })
  )
})

describe("none", () => {
  it.effect.each([
    ["a 500", Scripted.empty(500)],
    ["a 429 with Retry-After", Scripted.empty(429, { "Retry-After": "1" })],
    ["a reset connection", Scripted.broken()],
    ["a refused connection", Scripted.broken("ECONNREFUSED")]
  ] as const)("makes one attempt, after %s too", ([, answer]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* attemptTimes(answer, RetryPolicy.none), [0])
    })
  )
})
