/** How long the service asks to wait, wherever it says so. */
import { assert, describe, it } from "@effect/vitest"
import { RetryPolicy } from "@stacksapi/core"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import { jobUuid } from "../support/samples.ts"
import * as Scripted from "../support/scripted.ts"

/** 2026-10-01T12:00:00.250Z */
const now = Date.UTC(2026, 9, 1, 12, 0, 0, 250)

/** The wait that an answer asks for, in milliseconds, at `now`. */
const retryAfterOf = (answer: Scripted.Answer) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(now)
    const client = yield* Scripted.client(Scripted.make(answer))
    const error = yield* Effect.flip(client.getJob({ stackKey: "s", jobUuid }))
    assert(error._tag === "ErrorResponse")
    const { retryAfter } = error
    // The reason says the same.
    if ("retryAfter" in error.reason) assert.deepStrictEqual(error.reason.retryAfter, retryAfter)
    return retryAfter === undefined ? undefined : Duration.toMillis(retryAfter)
  }).pipe(RetryPolicy.withPolicy(RetryPolicy.none))

const header = (value: string) => ({ "Retry-After": value })

describe("Retry-After", () => {
  it.effect.each([
    ["0", 0],
    ["2", 2000],
    ["0.25", 250],
    ["1.0001", 1001],
    [" 3 ", 3000],
    ["86400", 86_400_000],
    // Dates have whole seconds; it is a quarter past.
    ["Thu, 01 Oct 2026 12:00:10 GMT", 9750],
    ["Thursday, 01-Oct-26 12:00:10 GMT", 9750],
    ["Thu Oct  1 12:00:10 2026", 9750],
    ["Thu, 01 Oct 2026 12:00:00 GMT", 0],
    ["Mon, 01 Jan 1990 00:00:00 GMT", 0],
    ["", undefined],
    ["soon", undefined],
    ["-1", undefined],
    ["NaN", undefined],
    ["Infinity", undefined],
    ["Thu, 32 Oct 2026 12:00:00 GMT", undefined],
    // Two headers, joined by whoever read them: the longer one counts.
    ["1, 2", 2000],
    ["120, 5", 120_000],
    ["5,120", 120_000],
    ["120, Thu, 01 Oct 2026 12:00:10 GMT", 120_000],
    ["Thu, 01 Oct 2026 12:00:10 GMT, 5", 9750],
    ["Thu, 01 Oct 2026 12:00:10 GMT, Thu, 01 Oct 2026 12:01:10 GMT", 69_750],
    ["Thursday, 01-Oct-26 12:00:10 GMT, 2", 9750],
    ["soon, 5", 5000],
    ["5, soon", 5000],
    ["-1, 0", 0],
    ["soon, -1", undefined],
    ["Wed, 5", undefined]
  ] as const)("%j on a 503 is %s ms", ([value, expected]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* retryAfterOf(Scripted.empty(503, header(value))), expected)
    })
  )

  it.effect("of an extreme size is a finite number", () =>
    Effect.gen(function* () {
      for (const value of ["9".repeat(400), "1e300", "99999999999999999999"]) {
        const millis = yield* retryAfterOf(Scripted.empty(503, header(value)))
        assert.isTrue(millis === undefined || (Number.isFinite(millis) && millis > 0), String(millis))
      }
    })
  )

  it.effect("of infinitely many seconds is the longest duration", () =>
    Effect.gen(function* () {
      for (const value of ["9".repeat(400), "1e400"]) {
        assert.isAbove((yield* retryAfterOf(Scripted.empty(503, header(value)))) ?? 0, 1e15)
      }
    })
  )

  it.effect("as a date is compared with the response's Date, not with the machine's clock", () =>
    Effect.gen(function* () {
      const waitOf = (date: string, retryAfter: string) =>
        retryAfterOf(Scripted.empty(503, { ...header(retryAfter), Date: date }))
      // Our clock is an hour behind, or ahead.
      assert.strictEqual(yield* waitOf("Thu, 01 Oct 2026 13:00:00 GMT", "Thu, 01 Oct 2026 13:00:10 GMT"), 10_000)
      assert.strictEqual(yield* waitOf("Thu, 01 Oct 2026 11:00:00 GMT", "Thu, 01 Oct 2026 11:00:10 GMT"), 10_000)
      assert.strictEqual(yield* waitOf("Thu, 01 Oct 2026 13:00:00 GMT", "Thu, 01 Oct 2026 12:59:59 GMT"), 0)
      // A Date that is none leaves our clock.
      assert.strictEqual(yield* waitOf("yesterday", "Thu, 01 Oct 2026 12:00:10 GMT"), 9750)
      assert.strictEqual(yield* waitOf("7", "Thu, 01 Oct 2026 12:00:10 GMT"), 9750)
    })
  )

  it.effect("is read from 429 and any 5xx", () =>
    Effect.gen(function* () {
      for (const status of [429, 500, 502, 503, 504]) {
        assert.strictEqual(yield* retryAfterOf(Scripted.empty(status, header("7"))), 7000)
      }
    })
  )

  it.effect("is ignored with a fatal status", () =>
    Effect.gen(function* () {
      for (const status of [400, 401, 403, 404, 422, 409]) {
        assert.isUndefined(yield* retryAfterOf(Scripted.empty(status, header("7"))))
      }
    })
  )
})

describe("a 429 without Retry-After", () => {
  const body = { message: "Rate limit exceeded", scope: "batch-reserve", limit: 10, current: 11, reset: 4 }
  const reset = { "RateLimit-Reset": "6", "RateLimit-Scope": "from-header" }

  it.effect("uses the reset time of the body", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* retryAfterOf(Scripted.json(429, body, reset)), 4000)
      assert.strictEqual(yield* retryAfterOf(Scripted.json(429, { reset: 0.5 }, reset)), 500)
      assert.strictEqual(yield* retryAfterOf(Scripted.json(429, { reset: 0 }, reset)), 0)
    })
  )

  it.effect("uses the header RateLimit-Reset without a reset time in the body", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* retryAfterOf(Scripted.empty(429, reset)), 6000)
      assert.strictEqual(yield* retryAfterOf(Scripted.text(429, "<html>", reset)), 6000)
      for (const odd of [null, "4", -1, {}]) {
        assert.strictEqual(yield* retryAfterOf(Scripted.json(429, { ...body, reset: odd }, reset)), 6000)
      }
    })
  )

  it.effect("has no retryAfter without any reset time", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* retryAfterOf(Scripted.empty(429)))
      assert.isUndefined(yield* retryAfterOf(Scripted.empty(429, { "RateLimit-Reset": "soon" })))
    })
  )

  it.effect("uses Retry-After before both reset times", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* retryAfterOf(Scripted.json(429, body, { ...reset, ...header("1") })), 1000)
    })
  )

  it.effect("uses the reset time if Retry-After is 0 or in the past", () =>
    Effect.gen(function* () {
      for (const value of ["0", "Mon, 01 Jan 1990 00:00:00 GMT"]) {
        assert.strictEqual(yield* retryAfterOf(Scripted.json(429, body, { ...reset, ...header(value) })), 4000)
        assert.strictEqual(yield* retryAfterOf(Scripted.empty(429, header(value))), 0)
      }
    })
  )

  it.effect("a 503 ignores RateLimit-Reset", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* retryAfterOf(Scripted.empty(503, reset)))
    })
  )

  it.effect("has the scope and the limit", () =>
    Effect.gen(function* () {
      const reasonOf = Effect.fnUntraced(function* (answer: Scripted.Answer) {
        const client = yield* Scripted.client(Scripted.make(answer))
        const error = yield* Effect.flip(
          client.getJob({ stackKey: "s", jobUuid }).pipe(RetryPolicy.withPolicy(RetryPolicy.none))
        )
        assert(error._tag === "ErrorResponse" && error.reason._tag === "RateLimited")
        return error.reason
      })
      const full = yield* reasonOf(Scripted.json(429, body))
      assert.strictEqual(full.scope, "batch-reserve")
      assert.strictEqual(full.limit, 10)
      assert.strictEqual(full.current, 11)
      assert.strictEqual(full.message, "Rate limit exceeded")
      const bare = yield* reasonOf(Scripted.empty(429, reset))
      assert.strictEqual(bare.scope, "from-header")
      assert.isUndefined(bare.limit)
      assert.isUndefined(bare.current)
    })
  )
})
