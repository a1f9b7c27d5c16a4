/** A machine whose wall clock is wrong, or is set while a stack runs. */
import { assert, describe, it } from "@effect/vitest"
import { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, DateTime, Duration, Effect, Layer } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { skewable } from "../support/skewableClock.ts"
import { addJobs, census, jobOf, type Run, slowly, start, takes } from "../support/stacks.ts"
import { testClock } from "../support/testClock.ts"

const { Fault } = StacksEmulator

/** A stack on a machine with a clock of its own. The service has the right time. */
const onMachine = Effect.gen(function* () {
  const right = yield* Clock.Clock
  const emulator = yield* StacksEmulator.StacksEmulator
  const raw = yield* HttpClient.HttpClient
  const { clock, step } = skewable(right)
  /** The service says what time it is there. */
  const dated = Effect.fnUntraced(function* (response: HttpClientResponse.HttpClientResponse) {
    const date = new Date(right.currentTimeMillisUnsafe()).toUTCString()
    const { headers, request, status } = response
    const text = yield* response.text
    const body = status === 204 ? null : text
    return HttpClientResponse.fromWeb(request, new Response(body, { status, headers: { ...headers, date } }))
  })
  const http = HttpClient.transform(raw, (response) =>
    Effect.provideService(Effect.flatMap(response, dated), Clock.Clock, right)
  )
  const client = yield* Layer.build(
    StacksClient.layer({ baseUrl: emulator.baseUrl, token: emulator.token }).pipe(
      Layer.provide(Layer.succeed(HttpClient.HttpClient, http))
    )
  )
  const begin = (run: Run, options: Parameters<typeof start>[1] = {}) =>
    start(run, options).pipe(Effect.provideContext(client), Effect.provideService(Clock.Clock, clock))
  return { begin, step }
})

const service = StacksEmulator.layerHttpClient.pipe(
  Layer.provideMerge(StacksEmulator.layer()),
  Layer.provideMerge(testClock)
)
const hour = 3_600_000

describe("A stack whose clock is set", () => {
  for (const [direction, millis] of [
    ["back", -hour],
    ["forward", hour]
  ] as const) {
    it.effect(`${direction} by an hour goes on as before, with jobs running and more in the queue`, () =>
      Effect.gen(function* () {
        const { begin, step } = yield* onMachine
        yield* addJobs(20)
        const stack = yield* begin(takes("3 seconds"), { maxInFlight: 4 })
        yield* slowly("4 seconds", "100 millis")
        step(millis)
        yield* slowly("40 seconds", "200 millis")
        assert.deepStrictEqual(yield* census, { "finished 0": 20 })
        const idle = yield* Effect.forkChild(stack.awaitIdle)
        yield* slowly("10 seconds", "500 millis")
        assert.isDefined(idle.pollUnsafe())
      }).pipe(Effect.scoped, Effect.provide(service))
    )

    it.effect(`${direction} by an hour tells how long ago the queue was read`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const { begin, step } = yield* onMachine
        const stack = yield* begin(takes("1 second"))
        yield* slowly("3 seconds", "100 millis")
        yield* emulator.setFaults([Fault.Status({ status: 503, operations: ["listScheduledJobs"] })])
        step(millis)
        yield* slowly("1 minute", "500 millis")
        const { sincePolled } = yield* stack.status
        assert(sincePolled !== undefined)
        assert.approximately(Duration.toSeconds(sincePolled), 60, 2)
      }).pipe(Effect.scoped, Effect.provide(service))
    )

    it.effect(`${direction} by an hour after a 503 tries again as soon as it would have`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const { begin, step } = yield* onMachine
        yield* emulator.setFaults([Fault.Status({ status: 503, operations: ["batchReserveJobs"], times: 2 })])
        yield* addJobs(5)
        yield* begin(takes("1 second"))
        yield* slowly("500 millis", "100 millis")
        step(millis)
        yield* slowly("15 seconds", "200 millis")
        assert.deepStrictEqual(yield* census, { "finished 0": 5 })
      }).pipe(Effect.scoped, Effect.provide(service))
    )

    it.effect(`${direction} by an hour starts a job at its runnableAt by the service's clock`, () =>
      Effect.gen(function* () {
        const { begin, step } = yield* onMachine
        yield* slowly("10 seconds", "1 second")
        step(millis)
        const now = yield* Clock.currentTimeMillis
        const [id = ""] = yield* addJobs(1, { runnableAt: DateTime.makeUnsafe(now + 20_000) })
        const stack = yield* begin(takes("1 minute"))
        yield* slowly("17 seconds", "200 millis")
        assert.strictEqual((yield* jobOf(id)).state, "scheduled")
        yield* slowly("6 seconds", "200 millis")
        assert.strictEqual((yield* jobOf(id)).state, "reserved")
        const started = stack.seen.find((event) => event._tag === "Started")
        const waited = started?._tag === "Started" ? Duration.toSeconds(started.sinceScheduled) : undefined
        assert.isAtMost(waited ?? 99, 5)
      }).pipe(Effect.scoped, Effect.provide(service))
    )
  }
})
