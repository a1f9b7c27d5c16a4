import { assert, describe, it } from "@effect/vitest"
import { JobStates } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { jobs, layer, requestsOf, stackKey } from "../support/stack.ts"
import { slowly } from "../support/stacks.ts"

const stateRequests = requestsOf("getJobStates")

describe("JobStates.get", () => {
  it.effect("looks up 2500 concurrent jobs in three requests", () =>
    Effect.gen(function* () {
      const ids = yield* jobs(2500)
      const states = yield* Effect.forEach(ids, (id) => JobStates.get(stackKey, id), { concurrency: "unbounded" })
      assert.deepStrictEqual(new Set(states), new Set(["scheduled"]))
      assert.lengthOf(yield* stateRequests, 3)
    }).pipe(Effect.provide(layer))
  )

  it.effect("sends one lookup for concurrent lookups of the same job", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* jobs(1)
      yield* Effect.all(
        Array.from({ length: 50 }, () => JobStates.get(stackKey, id)),
        { concurrency: "unbounded" }
      )
      const [request, ...more] = yield* stateRequests
      assert.deepStrictEqual(request?.body, { job_uuids: [id] })
      assert.isEmpty(more)
    }).pipe(Effect.provide(layer))
  )

  it.effect("returns undefined for an unknown id", () =>
    Effect.gen(function* () {
      yield* jobs(1)
      assert.isUndefined(yield* JobStates.get(stackKey, "nobody"))
    }).pipe(Effect.provide(layer))
  )

  it.effect("fails all concurrent lookups with the same typed failure", () =>
    Effect.gen(function* () {
      const lookups = yield* Effect.all(
        ["a", "b"].map((id) => Effect.flip(JobStates.get("not-registered", id))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        lookups.map((error) => (error._tag === "ErrorResponse" ? error.reason._tag : error._tag)),
        ["NotFound", "NotFound"]
      )
    }).pipe(Effect.provide(layer))
  )
})

describe("JobStates.watch", () => {
  it.effect("emits the current state, then every change, and ends when the job is finished", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* jobs(1)
      const seen = yield* JobStates.watch(stackKey, id).pipe(Stream.runCollect, Effect.forkChild)
      yield* TestClock.adjust("12 seconds")
      yield* emulator.acquireJob(id)
      yield* TestClock.adjust("5 seconds")
      yield* emulator.completeJob(id)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(seen), ["scheduled", "running", "finished"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("polls once for all watchers, and only while there are watchers", () =>
    Effect.gen(function* () {
      const ids = yield* jobs(1500)
      const watching = yield* Effect.forEach(ids, (id) => Stream.runDrain(JobStates.watch(stackKey, id)), {
        concurrency: "unbounded"
      }).pipe(Effect.forkChild)
      yield* slowly("1 second", "100 millis")
      const first = (yield* stateRequests).length
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* stateRequests).length, first + 4)

      yield* Fiber.interrupt(watching)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* stateRequests).length, first + 4)
    }).pipe(Effect.provide(layer))
  )

  it.effect("emits the states of the other requests if one request of a poll fails", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const ids = yield* jobs(1500)
      let told = 0
      const running = yield* Effect.forEach(
        ids,
        (id) =>
          JobStates.watch(stackKey, id).pipe(
            Stream.filter((state) => state === "running"),
            Stream.runHead,
            Effect.tap(() => Effect.sync(() => told++))
          ),
        { concurrency: "unbounded" }
      ).pipe(Effect.forkChild)
      yield* TestClock.adjust("1 second")
      yield* Effect.forEach(ids, (id) => emulator.acquireJob(id))
      yield* emulator.setFaults([StacksEmulator.Fault.Status({ status: 503, operations: ["getJobStates"], times: 1 })])
      yield* TestClock.adjust("4 seconds")
      assert.include([500, 1000], told)
      yield* TestClock.adjust("5 seconds")
      assert.lengthOf(yield* Fiber.join(running), 1500)
    }).pipe(Effect.provide(layer))
  )

  it.effect("survives an outage, and emits the change afterwards", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* jobs(1)
      const seen = yield* JobStates.watch(stackKey, id).pipe(Stream.take(2), Stream.runCollect, Effect.forkChild)
      yield* TestClock.adjust("1 second")
      yield* emulator.setFaults([StacksEmulator.Fault.Status({ status: 503 })])
      yield* emulator.acquireJob(id)
      yield* TestClock.adjust("1 minute")
      yield* emulator.setFaults([])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(seen), ["scheduled", "running"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("fails if the stack is not registered any more", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* jobs(1)
      const watching = yield* JobStates.watch(stackKey, id).pipe(Stream.runDrain, Effect.flip, Effect.forkChild)
      yield* TestClock.adjust("1 second")
      yield* emulator.forgetStack(stackKey)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(watching))._tag, "ErrorResponse")
    }).pipe(Effect.provide(layer))
  )

  it.effect("polls at the interval that is set", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* jobs(1)
      const seen = yield* JobStates.watch(stackKey, id).pipe(Stream.take(2), Stream.runCollect, Effect.forkChild)
      yield* TestClock.adjust("1 millis")
      yield* emulator.acquireJob(id)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* Fiber.join(seen), ["scheduled", "running"])
    }).pipe(Effect.provideService(JobStates.PollInterval, "2 seconds"), Effect.provide(layer))
  )
})
