import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { TestClock } from "effect/testing"
import { clientOf, forkCalls, list, reserve, service } from "../support/rateLimit.ts"

describe("RateLimit metrics", () => {
  it.effect("count and time the calls that waited, by operation", () =>
    Effect.gen(function* () {
      const { scripted } = service()
      const client = yield* clientOf(scripted)
      yield* forkCalls(client, list, 12)
      yield* forkCalls(client, reserve, 11)
      yield* TestClock.adjust("2 seconds")
      const metrics = yield* Metric.snapshot
      const found = (id: string, operation: string) =>
        metrics.find((metric) => metric.id === id && metric.attributes?.["operation"] === operation)?.state
      assert.deepInclude(found("stacksapi_rate_limit_waits", "listScheduledJobs"), { count: 2 })
      assert.deepInclude(found("stacksapi_rate_limit_waits", "batchReserveJobs"), { count: 1 })
      assert.deepInclude(found("stacksapi_rate_limit_wait_seconds", "listScheduledJobs"), { count: 2, sum: 2.01 })
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})
