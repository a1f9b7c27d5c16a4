/** Nothing starts on a paused queue, or after a job's end is decided. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, JobStore } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer } from "effect"
import { rewriting } from "../support/oddResponses.ts"
import { addJobs, countOf, done, emulated, jobOf, slowly, start, takes } from "../support/stacks.ts"

const { Fault } = StacksEmulator
const noRoom = new JobRunner.JobRunnerError({ message: "no room", isRetryable: true })

describe("On a paused queue", () => {
  const doubts: Readonly<Record<string, StacksEmulator.Fault>> = {
    "answered 503": Fault.Status({ status: 503 }),
    "not answered": Fault.Reset({}),
    "processed, and its response lost": Fault.LostResponse({})
  }
  for (const [what, fault] of Object.entries(doubts)) {
    it.effect(`while a reserve request is ${what}, no job starts; what is reserved stays so and starts later`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.setFaults([{ ...fault, operations: ["batchReserveJobs"], times: 2 }])
        const ids = yield* addJobs(3)
        const stack = yield* start(takes("5 seconds"), { reservationExpiry: "1 minute" })
        yield* slowly("500 millis", "100 millis")
        yield* emulator.pauseQueue("q", true)
        yield* slowly("3 minutes", "1 second")
        assert.notInclude(stack.names(), "Started")
        assert.notInclude(stack.names(), "ReservationLost")
        yield* emulator.pauseQueue("q", false)
        yield* slowly("20 seconds", "500 millis")
        for (const id of ids) assert.strictEqual((yield* jobOf(id)).state, "finished")
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }

  for (const [what, queue] of [
    ["null for the queue", null],
    ["no flag", { id: "q" }],
    ["null for the flag", { id: "q", dispatch_paused: null }]
  ] as const) {
    it.effect(`a page with ${what} leaves the queue paused, and no job starts`, () => {
      let isOdd = false
      const odd = rewriting("/scheduled-jobs", (page) => (isOdd ? { ...(page as object), cluster_queue: queue } : page))
      return Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.pauseQueue("q", true)
        const stack = yield* start(takes("1 second"))
        yield* slowly("3 seconds", "100 millis")
        isOdd = true
        yield* slowly("3 seconds", "100 millis")
        // This ends the stream of polls, and the stack starts another one.
        yield* emulator.setFaults([Fault.Status({ status: 400, operations: ["listScheduledJobs"], times: 1 })])
        const [id = ""] = yield* addJobs(1)
        yield* slowly("1 minute", "500 millis")
        assert.strictEqual((yield* jobOf(id)).state, "scheduled")
        assert.isTrue((yield* stack.status).isPaused)
        assert.notInclude(stack.names(), "Resumed")
        isOdd = false
        yield* emulator.pauseQueue("q", false)
        yield* slowly("10 seconds", "500 millis")
        assert.strictEqual((yield* jobOf(id)).state, "finished")
      }).pipe(Effect.scoped, Effect.provide(odd.pipe(Layer.provideMerge(emulated()))))
    })
  }

  it.effect("a job in backoff stays reserved, and starts when the queue resumes", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      let isBroken = true
      let starts = 0
      yield* start(
        () =>
          Effect.suspend(() => {
            starts++
            return isBroken ? Effect.fail(noRoom) : Effect.succeed(done)
          }),
        { reservationExpiry: "30 seconds" }
      )
      yield* slowly("2 seconds", "100 millis")
      isBroken = false
      yield* emulator.pauseQueue("q", true)
      yield* slowly("3 minutes", "1 second")
      assert.strictEqual(starts, 1)
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      yield* emulator.pauseQueue("q", false)
      yield* slowly("5 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})

describe("A job in backoff that is", () => {
  for (const [end, event] of [
    ["canceled", "Canceled"],
    ["lost to another stack", "ReservationLost"]
  ] as const) {
    it.effect(`${end} is reported as ${event}, and leaves the store`, () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const store = yield* JobStore.makeMemory
        const [id = ""] = yield* addJobs(1)
        const stack = yield* start(() => Effect.fail(noRoom), { reservationExpiry: "30 seconds" }).pipe(
          Effect.provideService(JobStore.JobStore, store)
        )
        yield* slowly("37 seconds", "500 millis")
        if (event === "Canceled") yield* emulator.cancelJob(id)
        else yield* emulator.acquireJob(id)
        yield* slowly("20 seconds", "500 millis")
        const last = stack.names().at(-1)
        assert.include(event === "Canceled" ? ["Canceled"] : ["ReservationLost", "AgentOwned"], last)
        assert.isEmpty(yield* store.load("s"))
        assert.strictEqual(yield* countOf("finishJob"), 0)
      }).pipe(Effect.scoped, Effect.provide(emulated()))
    )
  }
})
