import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import {
  clientOf,
  flood,
  forkCalls,
  getJob,
  issueTokens,
  list,
  mostInASecond,
  reserve,
  service
} from "../support/rateLimit.ts"

describe("RateLimit, response headers", () => {
  it.effect("RateLimit-Limit replaces the documented limit, lower or higher", () =>
    Effect.gen(function* () {
      for (const limit of [3, 25]) {
        const { scripted, times } = service(() => ({
          headers: { "ratelimit-scope": "list-scheduled-jobs", "ratelimit-limit": String(limit) }
        }))
        const client = yield* clientOf(scripted)
        yield* list(client)
        yield* TestClock.adjust("10 seconds")
        const before = times().length
        yield* flood(client, list, 60)
        yield* TestClock.adjust("20 seconds")
        const after = times().slice(before)
        assert.strictEqual(mostInASecond(after), limit)
        assert.isAtLeast(after.length, 0.95 * limit * 20)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a higher RateLimit-Limit admits waiters", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => ({
        back: index === 0 ? 500 : 0,
        headers: index === 0 ? { "ratelimit-limit": "20" } : {}
      }))
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 30)
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(times(), [...Array(10).fill(0), ...Array(10).fill(500)])
    })
  )

  it.effect("an invalid RateLimit-Limit is ignored", () =>
    Effect.gen(function* () {
      const texts = ["0", "-5", "many", "", "0.5"]
      const { scripted, times } = service((_, index) => ({
        headers: { "ratelimit-limit": texts[index % texts.length] ?? "" }
      }))
      yield* flood(yield* clientOf(scripted), list, 30)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(mostInASecond(times()), 10)
    })
  )

  it.effect("RateLimit-Scope changes the scope of an endpoint", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service((url) =>
        url.endsWith("/job-acquisition-tokens")
          ? { headers: { "ratelimit-scope": "job-acquisition-tokens", "ratelimit-limit": "5" } }
          : { headers: { "ratelimit-scope": "show-job", "ratelimit-limit": "1000" } }
      )
      const client = yield* clientOf(scripted)
      yield* issueTokens(client)
      yield* TestClock.adjust("10 seconds")
      yield* flood(client, issueTokens, 20)
      yield* forkCalls(client, getJob, 1000)
      yield* TestClock.adjust("10 seconds")
      const [, ...tokens] = counted.filter(({ path }) => path.endsWith("tokens")).map(({ at }) => at)
      assert.strictEqual(mostInASecond(tokens), 5)
      assert.lengthOf(
        counted.filter(({ path, at }) => path.endsWith("jobs/j") && at === 10_000),
        1000
      )
    })
  )

  it.effect("RateLimit-Remaining: 0 pauses calls until RateLimit-Reset if others used the limit", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) =>
        index === 0 ? { headers: { "ratelimit-remaining": "0", "ratelimit-reset": "2" } } : {}
      )
      const client = yield* clientOf(scripted)
      yield* list(client)
      yield* forkCalls(client, list, 3)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(times(), [0, 2000, 2000, 2000])
    })
  )

  it.effect("RateLimit-Remaining: 0 is ignored if this client used the limit itself", () =>
    Effect.gen(function* () {
      const { scripted, times } = service(() => ({
        back: 20,
        headers: { "ratelimit-limit": "10", "ratelimit-remaining": "0", "ratelimit-reset": "1" }
      }))
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 10)
      yield* TestClock.adjust("1025 millis")
      yield* forkCalls(client, list, 10)
      yield* TestClock.adjust("0 millis")
      assert.deepStrictEqual(times(), [...Array(10).fill(0), ...Array(10).fill(1025)])
    })
  )

  it.effect("Retry-After pauses all calls of that stack and scope, once", () =>
    Effect.gen(function* () {
      const { counted, scripted } = service((_, index) =>
        index === 4 ? { status: 429, headers: { "retry-after": "7" } } : {}
      )
      const client = yield* clientOf(scripted)
      for (let index = 0; index < 5; index++) yield* Effect.ignore(list(client))
      yield* forkCalls(client, list, 3)
      yield* forkCalls(client, reserve, 1)
      yield* forkCalls(client, (client) => client.listScheduledJobs({ stackKey: "t", clusterQueueKey: "q" }), 1)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        counted.slice(5).map(({ at, path }) => `${path} ${at}`),
        [
          "s/scheduled-jobs/batch-reserve 0",
          "t/scheduled-jobs 0",
          "s/scheduled-jobs 7000",
          "s/scheduled-jobs 7000",
          "s/scheduled-jobs 7000"
        ]
      )
    })
  )

  it.effect("several Retry-After are one pause, until the last one", () =>
    Effect.gen(function* () {
      const waits = ["2", "5", "3"]
      const { scripted, times } = service((_, index) =>
        index < 3 ? { status: 503, back: 10, headers: { "retry-after": waits[index] ?? "" } } : {}
      )
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 3)
      yield* TestClock.adjust("10 millis")
      yield* forkCalls(client, list, 2)
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(times(), [0, 0, 0, 5010, 5010])
    })
  )

  it.effect("Retry-After pauses with a success, too", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => (index === 0 ? { headers: { "retry-after": "3" } } : {}))
      const client = yield* clientOf(scripted)
      yield* list(client)
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(times(), [0, 3000])
    })
  )

  it.effect("a 429 without Retry-After pauses until RateLimit-Reset, or for a second", () =>
    Effect.gen(function* () {
      const { scripted, times } = service(
        (_, index) => [{ status: 429, headers: { "ratelimit-reset": "2" } }, { status: 429 }, {}][index] ?? {}
      )
      const client = yield* clientOf(scripted)
      yield* Effect.ignore(list(client))
      yield* Effect.forkScoped(Effect.ignore(list(client)))
      yield* TestClock.adjust("2 seconds")
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(times(), [0, 2000, 3000])
    })
  )

  it.effect("a pause is five minutes at most", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => (index === 0 ? { headers: { "retry-after": "86400" } } : {}))
      const client = yield* clientOf(scripted)
      yield* list(client)
      yield* forkCalls(client, list, 1)
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(times(), [0, 300_000])
    })
  )

  it.effect("after a pause, the limit is the same as before", () =>
    Effect.gen(function* () {
      const { scripted, times } = service((_, index) => (index === 3 ? { headers: { "retry-after": "10" } } : {}))
      yield* flood(yield* clientOf(scripted), list, 100)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(mostInASecond(times()), 10)
      assert.isAtLeast(times().length, 0.95 * 10 * 10)
    })
  )
})
