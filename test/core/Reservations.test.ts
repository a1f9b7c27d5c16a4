import { assert, describe, it } from "@effect/vitest"
import { Reservations, RetryPolicy } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { refusing } from "../support/oddResponses.ts"
import { jobs, layer, requestsOf, stackKey } from "../support/stack.ts"

const reserveRequests = requestsOf("batchReserveJobs")

const stateOf = Effect.fnUntraced(function* (id: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  return (yield* emulator.jobs).find((job) => job.id === id)?.state
})

describe("Reservations.reserve", () => {
  it.effect("reserves any number of jobs, 1000 a request", () =>
    Effect.gen(function* () {
      const ids = yield* jobs(2300)
      const { failed, notReserved, reserved } = yield* Reservations.reserve({ stackKey, jobUuids: ids })
      assert.deepStrictEqual(new Set(reserved), new Set(ids))
      assert.isEmpty(notReserved)
      assert.isEmpty(failed)
      assert.lengthOf(yield* reserveRequests, 3)
    }).pipe(RetryPolicy.withPolicy(RetryPolicy.none), Effect.provide(layer))
  )

  it.effect("reserves the other jobs if one job gets 422", () =>
    Effect.gen(function* () {
      const ids = yield* jobs(4)
      const { failed, reserved } = yield* Reservations.reserve({ stackKey, jobUuids: [...ids, "bad"] }).pipe(
        RetryPolicy.withPolicy(RetryPolicy.none),
        Effect.provide(refusing({ endpoint: "/batch-reserve", jobUuid: "bad", status: 422 }))
      )
      assert.sameMembers([...reserved], ids)
      assert.deepStrictEqual(
        failed.map(({ jobUuids }) => jobUuids),
        [["bad"]]
      )
    }).pipe(Effect.provide(layer))
  )

  for (const status of [500, 404, 422]) {
    it.effect(`renews the others where one job gets ${status}`, () =>
      Effect.gen(function* () {
        const ids = yield* jobs(4)
        yield* Reservations.reserve({ stackKey, jobUuids: ids, reservationExpiry: "1 minute" })
        const [bad = "", ...others] = ids
        yield* Reservations.renewing({ stackKey, jobUuids: ids, reservationExpiry: "1 minute" }).pipe(
          Effect.provide(refusing({ endpoint: "/batch-reserve", jobUuid: bad, status }))
        )
        for (let second = 0; second < 300; second++) yield* TestClock.adjust("1 second")
        for (const id of others) assert.strictEqual(yield* stateOf(id), "reserved")
      }).pipe(Effect.scoped, Effect.provide(layer))
    )
  }

  it.effect("keeps the results of the other requests if one fails", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const ids = yield* jobs(2500)
      yield* emulator.setFaults([
        StacksEmulator.Fault.Status({ status: 500, operations: ["batchReserveJobs"], skip: 1, times: 1 })
      ])
      const result = yield* Reservations.reserve({ stackKey, jobUuids: [...ids, "nobody"], concurrency: 1 })
      assert.lengthOf(result.reserved, 1500)
      assert.deepStrictEqual(result.notReserved, ["nobody"])
      assert.deepStrictEqual(
        result.failed.map(({ error, jobUuids }) => [jobUuids.length, error._tag]),
        [[1000, "ErrorResponse"]]
      )
    }).pipe(RetryPolicy.withPolicy(RetryPolicy.none), Effect.provide(layer))
  )

  it.effect("sends a duplicate job once, and no request without jobs", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* jobs(1)
      assert.deepStrictEqual(yield* Reservations.reserve({ stackKey, jobUuids: [] }), {
        reserved: [],
        notReserved: [],
        failed: []
      })
      const { reserved } = yield* Reservations.reserve({ stackKey, jobUuids: [id, id] })
      assert.deepStrictEqual(reserved, [id])
      assert.lengthOf(yield* reserveRequests, 1)
    }).pipe(RetryPolicy.withPolicy(RetryPolicy.none), Effect.provide(layer))
  )
})

describe("Reservations.renewing", () => {
  it.effect("keeps reservations from lapsing while it is open, and lets them lapse afterwards", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* jobs(1)
      yield* Reservations.reserve({ stackKey, jobUuids: [id], reservationExpiry: "1 minute" })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Reservations.renewing({ stackKey, jobUuids: [id], reservationExpiry: "1 minute" })
          yield* TestClock.adjust("10 minutes")
          assert.strictEqual(yield* stateOf(id), "reserved")
        })
      )
      yield* TestClock.adjust("61 seconds")
      assert.strictEqual(yield* stateOf(id), "scheduled")
    }).pipe(RetryPolicy.withPolicy(RetryPolicy.none), Effect.provide(layer))
  )

  it.effect("stops renewing a released job", () =>
    Effect.gen(function* () {
      const [kept = "", released = ""] = yield* jobs(2)
      yield* Reservations.reserve({ stackKey, jobUuids: [kept, released], reservationExpiry: "1 minute" })
      const renewal = yield* Reservations.renewing({ stackKey, reservationExpiry: "1 minute" })
      yield* renewal.hold(kept)
      yield* renewal.hold(released)
      yield* renewal.release(released)
      assert.deepStrictEqual(yield* renewal.held, new Set([kept]))
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* stateOf(kept), "reserved")
      assert.strictEqual(yield* stateOf(released), "scheduled")
    }).pipe(Effect.scoped, RetryPolicy.withPolicy(RetryPolicy.none), Effect.provide(layer))
  )

  it.effect("reports a job that could not be renewed, and stops renewing it", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [first = "", second = "", third = ""] = yield* jobs(3)
      const ids = [first, second, third]
      yield* Reservations.reserve({ stackKey, jobUuids: ids, reservationExpiry: "1 minute" })
      const renewal = yield* Reservations.renewing({ stackKey, jobUuids: ids, reservationExpiry: "1 minute" })
      const lost = yield* renewal.lost.pipe(Stream.take(1), Stream.runCollect, Effect.forkChild)
      yield* emulator.cancelJob(second)
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(yield* Fiber.join(lost), [second])
      assert.deepStrictEqual(yield* renewal.held, new Set([first, third]))
    }).pipe(Effect.scoped, RetryPolicy.withPolicy(RetryPolicy.none), Effect.provide(layer))
  )

  it.effect("survives renewals that fail", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* jobs(1)
      yield* Reservations.reserve({ stackKey, jobUuids: [id], reservationExpiry: "1 minute" })
      yield* Reservations.renewing({ stackKey, jobUuids: [id], reservationExpiry: "1 minute" })
      yield* emulator.setFaults([StacksEmulator.Fault.Reset({ operations: ["batchReserveJobs"] })])
      yield* TestClock.adjust("50 seconds")
      yield* emulator.setFaults([])
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* stateOf(id), "reserved")
    }).pipe(Effect.scoped, RetryPolicy.withPolicy(RetryPolicy.none), Effect.provide(layer))
  )
})
