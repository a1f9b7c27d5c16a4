/** Pages of a queue that no service should give. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer } from "effect"
import { HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { addJobs, census, clientVia, start, takes } from "../support/stacks.ts"
import { testClock } from "../support/testClock.ts"

/** A client of an emulator that lists each job twice. */
const repeating = clientVia((request, response) =>
  request.url.endsWith("/scheduled-jobs")
    ? Effect.gen(function* () {
        const answer = yield* response
        const page = JSON.parse(yield* answer.text)
        const body = JSON.stringify({ ...page, jobs: [...page.jobs, ...page.jobs] })
        return HttpServerResponse.toClientResponse(HttpServerResponse.text(body, { contentType: "application/json" }), {
          request
        })
      })
    : response
).pipe(Layer.provideMerge(StacksEmulator.layer()), Layer.provideMerge(testClock))

describe("A page that lists its jobs twice", () => {
  it.effect("runs each of them once", () =>
    Effect.gen(function* () {
      yield* addJobs(3)
      const stack = yield* start(takes("5 seconds"))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* census, { "finished 0": 3 })
      assert.strictEqual(stack.names().filter((name) => name === "Started").length, 3)
    }).pipe(Effect.scoped, Effect.provide(repeating))
  )
})
