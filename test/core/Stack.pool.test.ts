/** A stack whose reserved jobs wait for slots of a pool. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, SlotPool } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer } from "effect"
import { HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { addJobs, census, clientVia, done, emulated, start, takes } from "../support/stacks.ts"
import { testClock } from "../support/testClock.ts"

/** A client of an emulator whose first answer to a reservation mentions no job. */
const forgetful = Layer.suspend(() => {
  let isFirst = true
  return clientVia((request, response) => {
    if (!request.url.endsWith("batch-reserve") || !isFirst) return response
    isFirst = false
    const body = JSON.stringify({ reserved: [], not_reserved: [] })
    return Effect.map(response, () =>
      HttpServerResponse.toClientResponse(HttpServerResponse.text(body, { contentType: "application/json" }), {
        request
      })
    )
  }).pipe(Layer.provideMerge(StacksEmulator.layer()), Layer.provideMerge(testClock))
})

describe("A stack with a pool", () => {
  it.effect("starts a job that was in doubt as soon as it knows that the job is reserved", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      yield* start(takes("5 seconds"), { pool: yield* SlotPool.make(2) })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* census, { "finished 0": 1 })
    }).pipe(Effect.scoped, Effect.provide(forgetful))
  )

  it.effect("starts no more jobs from backoff than a pool has slots after it was made smaller", () =>
    Effect.gen(function* () {
      const pool = yield* SlotPool.make(2)
      const tries = new Map<string, number>()
      let running = 0
      let most = 0
      yield* addJobs(2)
      yield* start(
        ({ job }) =>
          Effect.gen(function* () {
            const number = (tries.get(job.id) ?? 0) + 1
            tries.set(job.id, number)
            if (number === 1) {
              return yield* new JobRunner.JobRunnerError({ message: "No machine is free", isRetryable: true })
            }
            most = Math.max(most, ++running)
            yield* Effect.sleep("10 seconds")
            running--
            return done
          }),
        { pool }
      )
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(new Set(tries.values()), new Set([1]))
      yield* pool.setSize(1)
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* census, { "finished 0": 2 })
      assert.strictEqual(most, 1)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
