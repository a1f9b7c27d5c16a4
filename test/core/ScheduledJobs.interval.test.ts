import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Effect, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import { addJobs } from "../support/emulated.ts"
import { emulated, emulator, listedAt, numbered, watching } from "../support/scheduledJobs.ts"

const { Fault } = StacksEmulator

describe("ScheduledJobs, the interval of polls", () => {
  it.effect("is a second by default, from start to start", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) => setFaults([Fault.Stall({ duration: "700 millis" })]))
      yield* watching()
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* listedAt, [0, 1000, 2000, 3000])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("is the option interval", () =>
    Effect.gen(function* () {
      const slow = yield* watching({ interval: "5 seconds" })
      yield* TestClock.adjust("12 seconds")
      yield* Fiber.interrupt(slow.fiber)
      assert.deepStrictEqual(yield* listedAt, [0, 5000, 10_000])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("is the duration of a poll that takes longer: polls never overlap", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) => setFaults([Fault.Stall({ duration: "2500 millis" })]))
      yield* watching()
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(yield* listedAt, [0, 2500, 5000])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("is at least Retry-After, even with a success", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) =>
        setFaults([
          Fault.SlowDown({ retryAfter: "7 seconds", times: 1 }),
          Fault.Status({ status: 429, retryAfter: "9 seconds", times: 1 }),
          Fault.Status({ status: 503, retryAfter: "3 seconds", times: 1 })
        ])
      )
      yield* watching()
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(yield* listedAt, [0, 7000, 16_000, 19_000, 20_000])
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )

  it.effect("is a multiple after Retry-After, so that pollers with the same Retry-After stay apart", () =>
    Effect.gen(function* () {
      const date = new Date(10_000).toUTCString()
      yield* emulator(({ setFaults }) =>
        setFaults([Fault.Status({ status: 503, headers: { "Retry-After": date }, skip: 3, times: 3 })])
      )
      for (const _ of ["first", "second", "third"]) {
        yield* watching()
        yield* TestClock.adjust("300 millis")
      }
      yield* TestClock.adjust("9900 millis")
      assert.deepStrictEqual(yield* listedAt, [0, 300, 600, 1000, 1300, 1600, 10_000, 10_300, 10_600])
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )

  it.effect("is not changed by a Retry-After of 0, which does not end a poll either", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 9, 1))
      for (const value of ["0", "Mon, 01 Jan 1990 00:00:00 GMT", "-1"]) {
        const before = (yield* listedAt).length
        yield* emulator(({ setFaults }) =>
          setFaults([Fault.Status({ status: 503, headers: { "Retry-After": value }, times: 4 })])
        )
        const from = DateTime.toEpochMillis(yield* DateTime.now)
        const { fiber } = yield* watching()
        yield* TestClock.adjust("15 seconds")
        yield* Fiber.interrupt(fiber)
        const times = (yield* listedAt).slice(before).map((at) => at - from)
        assert.deepStrictEqual(times, [0, 1000, 3000, 7000, 15_000])
      }
      yield* addJobs(...numbered(4))
      yield* emulator(({ setFaults }) => setFaults([Fault.SlowDown({ retryAfter: 0, times: 1 })]))
      const { next } = yield* watching({ pageSize: 2 })
      assert.deepStrictEqual(yield* next(0), ["j0", "j1", "j2", "j3"])
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )

  it.effect("is five minutes at most, because the queue would be disconnected", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) => setFaults([Fault.SlowDown({ retryAfter: "1 day", times: 1 })]))
      yield* watching()
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(yield* listedAt, [0, 300_000])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("starts after the first page if that has Retry-After", () =>
    Effect.gen(function* () {
      yield* addJobs(...numbered(4))
      yield* emulator(({ setFaults }) => setFaults([Fault.SlowDown({ retryAfter: "5 seconds", times: 1 })]))
      const { next } = yield* watching({ pageSize: 2 })
      assert.deepStrictEqual(yield* next("4 seconds"), ["j0", "j1"])
      assert.deepStrictEqual(yield* listedAt, [0])
      assert.deepStrictEqual(yield* next("1 second"), ["j2", "j3"])
    }).pipe(Effect.provide(emulated))
  )

  it.effect("grows with failures in a row up to 30 seconds, until a success", () =>
    Effect.gen(function* () {
      yield* emulator(({ setFaults }) => setFaults([Fault.Status({ status: 500, times: 7 })]))
      yield* watching()
      yield* TestClock.adjust("92 seconds")
      const times = yield* listedAt
      assert.deepStrictEqual(
        times.slice(1).map((time, index) => (time - (times[index] ?? 0)) / 1000),
        [1, 2, 4, 8, 16, 30, 30, 1]
      )
    }).pipe(Effect.provide([emulated, Logger.layer([])]))
  )
})
