/** Jobs that are given back to the queue. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, JobStore } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { addJobs, countOf, done, emulated, jobOf, type Run, slowly, start, takes } from "../support/stacks.ts"

const { Fault } = StacksEmulator
const unwanted: Run = () => Effect.as(Effect.sleep("1 second"), JobRunner.Released({ reason: "no such machine" }))

describe("A job that its runner releases", () => {
  it.effect("returns to the queue about a second later, with an event, and leaves the store", () =>
    Effect.gen(function* () {
      const store = yield* JobStore.makeMemory
      const [id = ""] = yield* addJobs(1)
      const stack = yield* start(unwanted).pipe(Effect.provideService(JobStore.JobStore, store))
      yield* slowly("4 seconds", "100 millis")
      assert.strictEqual((yield* jobOf(id)).state, "scheduled")
      const released = stack.seen.find((event) => event._tag === "Released")
      assert.deepInclude(released, { reason: "no such machine" })
      assert.isEmpty(yield* store.load("s"))
      assert.isEmpty((yield* stack.status).inFlight)
      assert.strictEqual(yield* countOf("finishJob"), 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("is not taken again for 30, then 60 seconds by this stack, and at once by another one", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* addJobs(1)
      const starts: Array<number> = []
      let seconds = 0
      yield* start((context) =>
        Effect.andThen(
          Effect.sync(() => starts.push(seconds)),
          unwanted(context)
        )
      )
      for (; seconds < 110; seconds++) yield* slowly("1 second", "250 millis")
      const [first = 0, second = 0, third = 0] = starts
      assert.lengthOf(starts, 3)
      assert.approximately(second - first, 32, 2)
      assert.approximately(third - second, 62, 2)
      const other = yield* start(takes("1 second"), { key: "other" })
      yield* slowly("3 seconds", "250 millis")
      assert.include(other.names(), "Finished")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  for (const [what, fault] of [
    ["answers 503", Fault.Status({ status: 503 })],
    ["answers 422", Fault.Status({ status: 422 })],
    ["breaks the connection", Fault.Reset({})]
  ] as const) {
    it.effect(`is released though the service ${what} for a while`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const [id = ""] = yield* addJobs(1)
        const stack = yield* start(unwanted)
        yield* slowly("500 millis", "100 millis")
        yield* emulator.setFaults([{ ...fault, operations: ["batchReserveJobs"], times: 5 }])
        yield* slowly("45 seconds", "500 millis")
        assert.include(stack.names(), "Released")
        assert.strictEqual((yield* jobOf(id)).exitStatus, undefined)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  it.effect("counts as released when its reservation has lapsed, if the service does not respond", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      const stack = yield* start(unwanted, { reservationExpiry: "30 seconds" })
      yield* slowly("500 millis", "100 millis")
      yield* emulator.setFaults([Fault.Status({ status: 503, operations: ["batchReserveJobs"] })])
      yield* slowly("70 seconds", "500 millis")
      assert.include(stack.names(), "Released")
      yield* emulator.setFaults([])
      yield* slowly("40 seconds", "500 millis")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("is not extended by a renewal in flight", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      yield* start(() => Effect.as(Effect.sleep("8 seconds"), JobRunner.Released({ reason: "full" })), {
        reservationExpiry: "20 seconds"
      })
      yield* slowly("4 seconds", "100 millis")
      yield* emulator.setFaults([Fault.Stall({ operations: ["batchReserveJobs"], duration: "4 seconds", times: 1 })])
      yield* slowly("9 seconds", "100 millis")
      assert.strictEqual((yield* jobOf(id)).state, "scheduled")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("does not block other jobs", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const ids = yield* addJobs(10)
      yield* start(({ job }) => Effect.succeed(job.id === ids[0] ? JobRunner.Released({ reason: "no" }) : done), {
        maxInFlight: 1
      })
      yield* slowly("10 seconds", "100 millis")
      const left = (yield* emulator.jobs).filter(({ state }) => state !== "finished").map(({ id }) => id)
      assert.deepStrictEqual(left, [ids[0]])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
