/** Responses that leave it open whether a job is reserved: no job stays in doubt, and none holds a slot for it. */
import { assert, describe, it } from "@effect/vitest"
import type { StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Layer } from "effect"
import { bodyOf, refusing, rewriting } from "../support/oddResponses.ts"
import { addJobs, census, countOf, emulated, jobOf, slowly, start, takes } from "../support/stacks.ts"

const { Fault } = StacksEmulator

interface Answer {
  readonly reserved: ReadonlyArray<string>
  readonly not_reserved: ReadonlyArray<string>
}

/** What the service says about job "a": another thing than it does. */
const oddities: Readonly<Record<string, (answer: Answer) => unknown>> = {
  "omits it": ({ not_reserved, reserved }) => ({ reserved: reserved.filter((id) => id !== "a"), not_reserved }),
  "spells it in upper case": ({ not_reserved, reserved }) => ({
    reserved: reserved.map((id) => (id === "a" ? "A" : id)),
    not_reserved
  }),
  "has null for a list": ({ not_reserved, reserved }) => ({
    reserved: reserved.includes("a") ? reserved.filter((id) => id !== "a") : reserved,
    not_reserved: not_reserved.length === 0 ? null : not_reserved
  })
}

const odd = (
  rewrite: (answer: Answer) => unknown,
  isOn: () => boolean = () => true
): Layer.Layer<StacksClient.StacksClient, never, StacksEmulator.StacksEmulator> =>
  rewriting("/batch-reserve", (answer, request) =>
    isOn() && bodyOf(request).includes('"a"') ? rewrite(answer as Answer) : answer
  )

describe("A reserve response that", () => {
  it.effect("does not decode frees the slot for the next job, and is reported", () => {
    let isOn = true
    return Effect.gen(function* () {
      yield* addJobs(1, { id: "a" })
      yield* addJobs(1, { id: "b" })
      const odd = rewriting("/batch-reserve", (answer, request) =>
        isOn && bodyOf(request).includes('"a"') ? ["neither"] : answer
      )
      const stack = yield* start(takes("1 second"), { maxInFlight: 1, reservationExpiry: "1 minute" }).pipe(
        Effect.provide(odd)
      )
      yield* slowly("20 seconds", "100 millis")
      assert.strictEqual((yield* jobOf("b")).state, "finished")
      assert.isTrue(stack.seen.some((event) => event._tag === "InDoubt" && event.job.id === "a"))
      assert.isEmpty((yield* stack.status).inFlight)
      isOn = false
      yield* slowly("10 minutes", "1 second")
      assert.deepStrictEqual(yield* census, { "finished 0": 2 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  })

  for (const [oddity, rewrite] of Object.entries(oddities)) {
    it.effect(`${oddity} leaves the slot to the next job at once, and is reported`, () =>
      Effect.gen(function* () {
        yield* addJobs(1, { id: "a" })
        yield* addJobs(1, { id: "b" })
        const stack = yield* start(takes("1 second"), { maxInFlight: 1 }).pipe(Effect.provide(odd(rewrite)))
        yield* slowly("8 seconds", "100 millis")
        assert.strictEqual((yield* jobOf("b")).state, "finished")
        const doubts = stack.seen.filter((event) => event._tag === "InDoubt" && event.job.id === "a")
        assert.lengthOf(doubts, 1)
        yield* slowly("10 minutes", "10 seconds")
        assert.isEmpty((yield* stack.status).inFlight)
        assert.strictEqual(stack.seen.filter(({ _tag }) => _tag === "InDoubt").length, 1)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )

    it.effect(`${oddity} once has the job asked for again: it is ours, and runs`, () =>
      Effect.gen(function* () {
        let isOn = true
        yield* addJobs(1, { id: "a" })
        const stack = yield* start(takes("1 second"), { maxInFlight: 1 }).pipe(Effect.provide(odd(rewrite, () => isOn)))
        yield* slowly("500 millis", "100 millis")
        isOn = false
        yield* slowly("10 seconds", "100 millis")
        assert.strictEqual((yield* jobOf("a")).state, "finished")
        assert.deepStrictEqual(stack.names(), ["Registered", "InDoubt", "Reserved", "Started", "Finished"])
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("omits a job that is gone drops the job one reservationExpiry after the last request", () =>
    Effect.gen(function* () {
      yield* addJobs(1, { id: "a" })
      const stack = yield* start(takes("1 second"), { maxInFlight: 1, reservationExpiry: "30 seconds" }).pipe(
        Effect.provide(odd(() => ({ reserved: [], not_reserved: [] })))
      )
      yield* slowly("55 seconds", "500 millis")
      assert.notInclude(stack.names(), "NotReserved")
      yield* slowly("40 seconds", "500 millis")
      assert.include(stack.names(), "NotReserved")
      const asked = yield* countOf("batchReserveJobs")
      assert.isAtMost(asked, 12)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("A job in doubt", () => {
  it.effect("that gets no answer in an outage is asked for until there is one, and then runs", () => {
    let isOut = false
    const refusals = refusing({ endpoint: "/batch-reserve", jobUuid: "a", status: 500, isOn: () => isOut })
    return Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1, { id: "a" })
      yield* emulator.setFaults([Fault.LostResponse({ operations: ["batchReserveJobs"], times: 1 })])
      const stack = yield* start(takes("1 second"), { reservationExpiry: "1 hour" })
      yield* slowly("500 millis", "100 millis")
      isOut = true
      yield* slowly("5 minutes", "2 seconds")
      assert.strictEqual((yield* jobOf("a")).state, "reserved")
      assert.isEmpty((yield* stack.status).inFlight)
      isOut = false
      yield* slowly("30 seconds", "500 millis")
      assert.strictEqual((yield* jobOf("a")).state, "finished")
    }).pipe(Effect.scoped, Effect.provide(refusals.pipe(Layer.provideMerge(emulated()))))
  })

  it.effect("when the stack drains is given back, and counts as not reserved: no event has said that it was", () =>
    Effect.gen(function* () {
      yield* addJobs(1, { id: "a" })
      const stack = yield* start(takes("1 second"), { reservationExpiry: "1 hour" }).pipe(
        Effect.provide(odd(() => ({ reserved: [], not_reserved: [] })))
      )
      yield* slowly("5 seconds", "100 millis")
      const draining = yield* Effect.forkChild(stack.drain)
      yield* slowly("10 seconds", "100 millis")
      yield* Fiber.join(draining)
      assert.strictEqual((yield* jobOf("a")).state, "scheduled")
      assert.deepStrictEqual(stack.names(), ["Registered", "InDoubt", "Draining", "NotReserved", "Stopped"])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("A reserve request whose response is lost", () => {
  for (const status of [422, 409, 302, 500] as const) {
    it.effect(`and which is then answered ${status} leaves no job reserved and forgotten`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* addJobs(3)
        yield* emulator.setFaults([
          Fault.LostResponse({ operations: ["batchReserveJobs"], times: 1 }),
          Fault.Status({ status, operations: ["batchReserveJobs"], times: 1 })
        ])
        const stack = yield* start(takes("5 seconds"))
        yield* slowly("1 minute", "500 millis")
        assert.deepStrictEqual(yield* census, { "finished 0": 3 })
        assert.isEmpty((yield* stack.status).inFlight)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )

    it.effect(`and which is then always answered ${status} does not hold its slots for ever`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* addJobs(3)
        yield* emulator.setFaults([
          Fault.LostResponse({ operations: ["batchReserveJobs"], times: 1 }),
          Fault.Status({ status, operations: ["batchReserveJobs"], times: 40 })
        ])
        yield* start(takes("5 seconds"), { reservationExpiry: "1 minute" })
        yield* slowly("40 minutes", "5 seconds")
        assert.deepStrictEqual(yield* census, { "finished 0": 3 })
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }
})
