import { assert, describe, it } from "@effect/vitest"
import * as StacksApi from "@stacksapi/core/StacksApi"
import { Context, Effect } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, emulated, list, register, reserve, send, status } from "../support/emulated.ts"

const limited = emulated({ rateLimits: true })

const listing = (stackKey = "s") => send("GET", `stacks/${stackKey}/scheduled-jobs?queue_key=q`)

const rateLimitOf = (headers: Readonly<Record<string, string>>) => ({
  scope: headers["ratelimit-scope"],
  limit: headers["ratelimit-limit"],
  remaining: headers["ratelimit-remaining"],
  reset: headers["ratelimit-reset"]
})

describe("rate limits", () => {
  it.effect("are in the headers of every response", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(rateLimitOf((yield* register()).headers), {
        scope: "default",
        limit: "10",
        remaining: "9",
        reset: "1"
      })
      const first = yield* listing()
      assert.deepStrictEqual(rateLimitOf(first.headers), {
        scope: "list-scheduled-jobs",
        limit: "10",
        remaining: "9",
        reset: "1"
      })
      assert.strictEqual((yield* listing()).headers["ratelimit-remaining"], "8")
      for (const [method, path, body, expected] of [
        ["GET", "stacks/s/jobs/unknown", undefined, 404],
        ["GET", "stacks/s/scheduled-jobs?limit=0", undefined, 400],
        ["POST", "stacks/s/jobs/get-states", {}, 422],
        ["POST", "nowhere", undefined, 404]
      ] as const) {
        const response = yield* send(method, path, { body })
        assert.strictEqual(response.status, expected)
        assert.isTrue(Object.values(rateLimitOf(response.headers)).every((value) => value !== undefined))
      }
      const unauthorized = yield* send("GET", "stacks/s/jobs/j", { headers: { authorization: "" } })
      assert.strictEqual(unauthorized.status, 401)
      assert.strictEqual(unauthorized.headers["ratelimit-scope"], "show-job")
    }).pipe(Effect.provide(limited))
  )

  it.effect("refuse requests above the limit, and say when to retry", () =>
    Effect.gen(function* () {
      yield* register()
      for (let i = 0; i < 10; i++) assert.strictEqual((yield* listing()).status, 200)
      const refused = yield* listing()
      assert.strictEqual(refused.status, 429)
      assert.strictEqual(refused.headers["retry-after"], "1")
      assert.deepStrictEqual(rateLimitOf(refused.headers), {
        scope: "list-scheduled-jobs",
        limit: "10",
        remaining: "0",
        reset: "1"
      })
      assert.deepStrictEqual(refused.body, {
        message: "Rate limit exceeded. Please wait 1 second before making more requests.",
        scope: "list-scheduled-jobs",
        limit: 10,
        current: 11,
        reset: 1
      })
      // What was refused in the last second counts too, there and only there.
      assert.deepInclude((yield* listing()).body, { limit: 10, current: 12 })
      yield* TestClock.adjust("999 millis")
      assert.deepInclude((yield* listing()).body, { limit: 10, current: 13 })
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* listing()).headers["ratelimit-remaining"], "9")
    }).pipe(Effect.provide(limited))
  )

  it.effect("use a sliding window, so that no burst is possible", () =>
    Effect.gen(function* () {
      yield* register()
      const burst = Effect.map(Effect.all(Array.from({ length: 6 }, () => listing())), (all) =>
        all.map(({ status }) => status)
      )
      yield* TestClock.adjust("900 millis")
      assert.deepStrictEqual(yield* burst, [200, 200, 200, 200, 200, 200])
      yield* TestClock.adjust("200 millis")
      assert.deepStrictEqual(yield* burst, [200, 200, 200, 200, 429, 429])
      yield* TestClock.adjust("799 millis")
      assert.deepStrictEqual(yield* burst, [429, 429, 429, 429, 429, 429])
      // The first six are a second old; refused requests do not count.
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* burst, [200, 200, 200, 200, 200, 200])
    }).pipe(Effect.provide(limited))
  )

  it.effect("are counted for each stack and each scope", () =>
    Effect.gen(function* () {
      yield* register("a")
      yield* register("b")
      for (let i = 0; i < 10; i++) yield* listing("a")
      assert.strictEqual((yield* listing("a")).status, 429)
      assert.strictEqual((yield* listing("b")).status, 200)
      assert.strictEqual((yield* reserve(["j"], { stackKey: "a" })).status, 200)
      // Registering and leaving share the default scope.
      for (let i = 0; i < 9; i++) yield* register("a")
      assert.strictEqual(yield* status("POST", "stacks/a/deregister"), 429)
      assert.strictEqual(yield* status("POST", "stacks/b/deregister"), 204)
    }).pipe(Effect.provide(limited))
  )

  it.effect("are those of the declared API", () =>
    Effect.gen(function* () {
      yield* register()
      const body = { job_uuids: ["j"], detail: "x", notifications: [{ job_uuid: "j", detail: "x" }] }
      for (const endpoint of Object.values(StacksApi.StacksApi.groups.stacks.endpoints)) {
        const path = endpoint.path.replace(":stackKey", "limits").replace(":jobUuid", "j").slice(1)
        const { limit, scope } = Context.getUnsafe(endpoint.annotations, StacksApi.Limit)
        const { headers } = yield* send(endpoint.method, `${path}?queue_key=q`, { body })
        assert.strictEqual(headers["ratelimit-scope"], scope)
        assert.strictEqual(headers["ratelimit-limit"], String(limit))
      }
    }).pipe(Effect.provide(limited))
  )

  it.effect("are reported but not enforced by default", () =>
    Effect.gen(function* () {
      yield* register()
      for (let i = 0; i < 50; i++) {
        const response = yield* listing()
        assert.strictEqual(response.status, 200)
        assert.strictEqual(response.headers["ratelimit-remaining"], "10")
      }
    }).pipe(Effect.provide(emulated()))
  )
})

describe("100,000 scheduled jobs", () => {
  const count = 100_000
  const ids = Array.from({ length: count }, (_, i) => `job-${i}`)

  it.effect("are listed, reserved, and back when their reservations lapse", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs(...ids)
      let after: string | null = null
      const seen: Array<string> = []
      do {
        const page: Effect.Success<ReturnType<typeof list>> = yield* list({ limit: 1000, ...(after && { after }) })
        seen.push(...page.ids)
        after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null
      } while (after !== null)
      assert.deepStrictEqual(seen, ids)

      const half = ids.filter((_, i) => i % 2 === 1)
      for (let i = 0; i < half.length; i += 1000) {
        const chunk = half.slice(i, i + 1000)
        assert.deepStrictEqual((yield* reserve(chunk, { seconds: 60 })).body, { reserved: chunk, not_reserved: [] })
      }
      assert.deepStrictEqual((yield* list({ limit: 3 })).ids, ["job-0", "job-2", "job-4"])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual((yield* list({ limit: 3 })).ids, ["job-0", "job-1", "job-2"])
    }).pipe(Effect.provide(emulated()))
  )
})
