import { assert, describe, it } from "@effect/vitest"
import { Effect, Latch } from "effect"
import { TestClock } from "effect/testing"
import { make as makeLimiter } from "../../packages/core/src/internal/rateLimit/limiter.ts"
import { SlidingWindow } from "../../packages/core/src/internal/rateLimit/slidingWindow.ts"
import { clientOf, forkCalls, list, service } from "../support/rateLimit.ts"

describe("RateLimit, removing windows", () => {
  it.effect("removes the window of an idle stack after a minute, and keeps the reported limit", () =>
    Effect.gen(function* () {
      const made: Array<readonly [key: string, limit: number]> = []
      const limiter = makeLimiter((key, limit) => {
        made.push([key, limit])
        return new SlidingWindow(limit)
      })
      const { scripted } = service(() => ({
        headers: { "ratelimit-scope": "list-scheduled-jobs", "ratelimit-limit": "7" }
      }))
      const client = yield* clientOf(scripted, { limiter })
      const call = (stackKey: string) => client.listScheduledJobs({ stackKey, clusterQueueKey: "q" })
      yield* call("a")
      yield* call("b")
      yield* TestClock.adjust("61 seconds")
      yield* call("b")
      yield* call("a")
      assert.deepStrictEqual(made, [
        ["list-scheduled-jobs:a", 10],
        ["list-scheduled-jobs:b", 7],
        ["list-scheduled-jobs:b", 7],
        ["list-scheduled-jobs:a", 7]
      ])
    })
  )

  it.effect("keeps the window of a stack with a call in flight, waiting or paused", () =>
    Effect.gen(function* () {
      let made = 0
      const limiter = makeLimiter((_, limit) => {
        made++
        return new SlidingWindow(limit)
      })
      const gate = Latch.makeUnsafe()
      const { scripted, times } = service((url, index) =>
        url.includes("stacks/s/") && index < 10
          ? Effect.as(gate.await, {})
          : { headers: url.includes("stacks/t/") ? { "retry-after": "120" } : {} }
      )
      const client = yield* clientOf(scripted, { limiter, timeout: "10 minutes" })
      yield* forkCalls(client, list, 12)
      yield* TestClock.adjust(0)
      yield* client.listScheduledJobs({ stackKey: "t", clusterQueueKey: "q" })
      yield* TestClock.adjust("61 seconds")
      yield* client.listScheduledJobs({ stackKey: "u", clusterQueueKey: "q" })
      assert.lengthOf(times(), 2)
      yield* Effect.forkScoped(client.listScheduledJobs({ stackKey: "t", clusterQueueKey: "q" }))
      yield* forkCalls(client, list, 1)
      yield* gate.open
      yield* TestClock.adjust("2 minutes")
      assert.lengthOf(times(), 2 + 13 + 1)
      assert.strictEqual(made, 3)
    })
  )
})
