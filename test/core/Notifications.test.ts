import { assert, describe, it } from "@effect/vitest"
import { Notifications } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { jobs, layer, requestsOf, stackKey } from "../support/stack.ts"

const notifying = (options: Notifications.Options) => Layer.provideMerge(Notifications.layer(options), layer)

const stored = Effect.gen(function* () {
  const { notifications } = yield* StacksEmulator.StacksEmulator
  return (yield* notifications).map(({ detail }) => detail)
})

const notificationRequests = requestsOf("createStackNotifications")

/** Collects what becomes of notifications from now on. */
const outcomes = Effect.fnUntraced(function* (count: number) {
  const notifications = yield* Notifications.Notifications
  const collecting = yield* notifications.results.pipe(Stream.take(count), Stream.runCollect, Effect.forkChild)
  yield* Effect.yieldNow
  return Fiber.join(collecting)
})

describe("Notifications", () => {
  it.effect("sends notifications within 100 ms as one request", () =>
    Effect.gen(function* () {
      const [a = "", b = ""] = yield* jobs(2)
      yield* Notifications.notify(a, "one")
      yield* Notifications.notify(b, "two")
      yield* TestClock.adjust("99 millis")
      assert.isEmpty(yield* stored)
      yield* Notifications.notify(a, "three")
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* stored, ["one", "two", "three"])
      assert.lengthOf(yield* notificationRequests, 1)
    }).pipe(Effect.provide(notifying({ stackKey })))
  )

  it.effect("sends 10,000 notifications in 10 requests", () =>
    Effect.gen(function* () {
      const ids = yield* jobs(1000)
      for (let n = 0; n < 10; n++) yield* Effect.forEach(ids, (id) => Notifications.notify(id, `step ${n}`))
      yield* TestClock.adjust("1 second")
      assert.lengthOf(yield* stored, 10_000)
      assert.lengthOf(yield* notificationRequests, 10)
    }).pipe(Effect.provide(notifying({ stackKey })))
  )

  it.effect("reports the service's refusals with their notifications", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* jobs(1)
      const results = yield* outcomes(3)
      yield* Notifications.notify(id, "good")
      yield* Notifications.notify("nobody", "bad")
      yield* Notifications.notify(id, "good too")
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(
        (yield* results).map(({ _tag, notification }) => [_tag, notification.detail]),
        [
          ["Delivered", "good"],
          ["Rejected", "bad"],
          ["Delivered", "good too"]
        ]
      )
    }).pipe(Effect.provide(notifying({ stackKey })))
  )

  it.effect("rejects invalid notifications, and sends the rest of the batch", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* jobs(1)
      const results = yield* outcomes(3)
      yield* Notifications.notify(id, "")
      yield* Notifications.notify("", "no job")
      yield* Notifications.notify(id, "good")
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(
        (yield* results).map(({ _tag }) => _tag),
        ["Rejected", "Rejected", "Delivered"]
      )
    }).pipe(Effect.provide(notifying({ stackKey })))
  )

  it.effect("sends at most 100 for each job", () =>
    Effect.gen(function* () {
      const [id = "", other = ""] = yield* jobs(2)
      const results = yield* outcomes(102)
      yield* Effect.forEach(Array.from({ length: 101 }), (_, n) => Notifications.notify(id, `${n}`))
      yield* Notifications.notify(other, "other")
      yield* TestClock.adjust("100 millis")
      assert.lengthOf(yield* stored, 101)
      const dropped = (yield* results).filter(({ _tag }) => _tag === "Dropped")
      assert.deepStrictEqual(
        dropped.map(({ notification }) => notification.detail),
        ["100"]
      )
    }).pipe(Effect.provide(notifying({ stackKey })))
  )

  it.effect("stops counting notifications of a job that is over", () =>
    Effect.gen(function* () {
      const { release } = yield* Notifications.Notifications
      const [id = ""] = yield* jobs(1)
      const results = yield* outcomes(101)
      yield* Effect.forEach(Array.from({ length: 100 }), (_, n) => Notifications.notify(id, `${n}`))
      yield* release(id)
      yield* Notifications.notify(id, "one more")
      yield* TestClock.adjust("100 millis")
      assert.lengthOf(yield* stored, 100)
      assert.propertyVal((yield* results)[100], "_tag", "Rejected", "by the service")
    }).pipe(Effect.provide(notifying({ stackKey })))
  )

  it.effect("drops and reports notifications while the buffer is full", () =>
    Effect.gen(function* () {
      const ids = yield* jobs(50)
      const results = yield* outcomes(50)
      for (const id of ids) yield* Notifications.notify(id, "hello")
      yield* TestClock.adjust("100 millis")
      const dropped = (yield* results).filter(({ _tag }) => _tag === "Dropped")
      assert.lengthOf(dropped, 40)
      for (const outcome of dropped) assert.propertyVal(outcome, "reason", "overflow")
      assert.lengthOf(yield* stored, 10)
    }).pipe(Effect.provide(notifying({ stackKey, bufferSize: 10 })))
  )

  it.effect("sends the remaining notifications when its scope closes", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* jobs(1)
      yield* Notifications.notify(id, "last words").pipe(Effect.provide(Notifications.layer({ stackKey })))
      assert.deepStrictEqual(yield* stored, ["last words"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("closes in bounded time while the service is down, and reports what it could not send", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const ids = yield* jobs(1500)
      yield* emulator.setFaults([StacksEmulator.Fault.Stall({})])
      const scope = yield* Scope.make()
      const notifications = yield* Notifications.make({ stackKey }).pipe(Scope.provide(scope))
      const results = yield* notifications.results.pipe(Stream.take(1500), Stream.runCollect, Effect.forkChild)
      yield* Effect.yieldNow
      yield* Effect.forEach(ids, (id) => notifications.notify(id, "hello"))
      const closing = yield* Scope.close(scope, Exit.void).pipe(Effect.forkChild)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(new Set((yield* Fiber.join(results)).map(({ _tag }) => _tag)), new Set(["Failed"]))
    }).pipe(Effect.provide(layer))
  )

  it.effect("sends the time of a notification only if it is sent late", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* jobs(1)
      yield* TestClock.adjust("1 minute")
      yield* Notifications.notify(id, "at once")
      yield* TestClock.adjust("100 millis")
      yield* emulator.setFaults([
        StacksEmulator.Fault.Stall({ duration: "30 seconds", operations: ["createStackNotifications"], times: 1 })
      ])
      yield* Notifications.notify(id, "in front")
      yield* TestClock.adjust("1 second")
      yield* Notifications.notify(id, "behind")
      yield* TestClock.adjust("1 minute")
      const times = (yield* notificationRequests).map(({ body }) => JSON.stringify(body).includes("timestamp"))
      assert.deepStrictEqual(times, [false, false, true])
      assert.lengthOf(yield* stored, 3)
    }).pipe(Effect.provide(notifying({ stackKey })))
  )
})
