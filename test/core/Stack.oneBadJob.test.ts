/** One job that makes every request fail that names it. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer } from "effect"
import { HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { addJobs, census, clientVia, start, takes } from "../support/stacks.ts"
import { testClock } from "../support/testClock.ts"

/** A client of an emulator that answers this status to every request to reserve the job, for as long as it is told to. */
const refusing = (jobUuid: string, status: number, isRefused: () => boolean) =>
  clientVia((request, response) => {
    const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
    return isRefused() && request.url.endsWith("batch-reserve") && body.includes(`"${jobUuid}"`)
      ? Effect.succeed(
          HttpServerResponse.toClientResponse(HttpServerResponse.text('{"message":"boom"}', { status }), { request })
        )
      : response
  }).pipe(Layer.provideMerge(StacksEmulator.layer()), Layer.provideMerge(testClock))

describe("A job that can't be reserved", () => {
  for (const status of [422, 500, 503]) {
    it.effect(`does not hold up the others, though no reservation has succeeded yet (${status})`, () => {
      let isRefused = true
      return Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.addJobs([{ queueKey: "q", id: "bad" }])
        yield* addJobs(7)
        const stack = yield* start(takes("5 seconds"))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* census, { scheduled: 1, "finished 0": 7 })
        const reported = stack.seen.filter((event) => event._tag === "RequestFailed" && event.jobUuid === "bad")
        assert.strictEqual(reported.length, 1)

        // Where it may be reserved, it is in doubt for as long as a reservation lasts; then it is a job like any other.
        isRefused = false
        yield* TestClock.adjust("25 minutes")
        assert.deepStrictEqual(yield* census, { "finished 0": 8 })
      }).pipe(Effect.scoped, Effect.provide(refusing("bad", status, () => isRefused)))
    })
  }
})
