import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Effect } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, answer, emulated, finish, register } from "../support/emulated.ts"

const notify = (...notifications: ReadonlyArray<unknown>) =>
  answer("POST", "stacks/s/notifications", { body: { notifications } })

const about = (job_uuid: string, detail: string, timestamp?: string) => ({ job_uuid, detail, timestamp })

const accepted = { status: 200, body: { errors: [] } }

const refused = (error: string, ...indexes: ReadonlyArray<number>) => ({
  status: 200,
  body: { errors: [{ error, indexes }] }
})

describe("notifications", () => {
  it.effect("are stored with their time, by default the time of arrival", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("j")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        yield* notify(about("j", "starting", "1970-01-01T00:00:03Z"), about("j", "started")),
        accepted
      )
      const receivedAt = DateTime.makeUnsafe(5000)
      assert.deepStrictEqual(yield* emulator.notifications, [
        { jobUuid: "j", stackKey: "s", detail: "starting", timestamp: DateTime.makeUnsafe(3000), receivedAt },
        { jobUuid: "j", stackKey: "s", detail: "started", timestamp: receivedAt, receivedAt }
      ])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("without a detail or with an invalid time don't affect the others", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("j")
      const { body, status } = yield* notify(
        { job_uuid: "j" },
        { job_uuid: "j", detail: null },
        about("j", "when?", "yesterday"),
        about("j", "fine")
      )
      assert.strictEqual(status, 200)
      assert.deepInclude(body, {
        errors: [
          { error: "detail is required", indexes: [0, 1] },
          { error: 'Expected a valid UTC DateTime string at ["timestamp"]', indexes: [2] }
        ]
      })
      assert.deepStrictEqual(
        (yield* emulator.notifications).map(({ detail }) => detail),
        ["fine"]
      )
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("are validated one by one; each error is returned once, with all its indexes", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("j")
      const { body, status } = yield* notify(
        about("j", ""),
        about("j", "good"),
        about("unknown", "x"),
        about("j", "x".repeat(257)),
        about("j", ""),
        about("j", "also good"),
        about("nobody", "x")
      )
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(body, {
        errors: [
          { error: "detail is required", indexes: [0, 4] },
          { error: "job not found", indexes: [2, 6] },
          { error: "detail exceeds its length limit of 256", indexes: [3] }
        ]
      })
      assert.deepStrictEqual(
        (yield* emulator.notifications).map(({ detail }) => detail),
        ["good", "also good"]
      )
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("have at most 256 characters, in any number of bytes or UTF-16 units", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      assert.deepStrictEqual(yield* notify(about("j", "🚀".repeat(256))), accepted)
      assert.deepStrictEqual(
        yield* notify(about("j", "🚀".repeat(257))),
        refused("detail exceeds its length limit of 256", 0)
      )
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("are limited to 100 per job", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j", "other")
      const many = Array.from({ length: 102 }, (_, i) => about("j", `${i}`))
      assert.deepStrictEqual(yield* notify(...many), refused("job stack notification count exceeded", 100, 101))
      assert.deepStrictEqual(yield* notify(about("j", "x")), refused("job stack notification count exceeded", 0))
      assert.deepStrictEqual(yield* notify(about("other", "x")), accepted)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("are refused if their time is in the future or before their job", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs({ id: "j", scheduledAt: DateTime.makeUnsafe(2000) })
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* notify(about("j", "x", "1970-01-01T00:00:02Z")), accepted)
      assert.deepStrictEqual(yield* notify(about("j", "x", "1970-01-01T00:00:05Z")), accepted)
      assert.deepStrictEqual(
        yield* notify(about("j", "x", "1970-01-01T00:00:05.001Z")),
        refused("timestamp is in the future", 0)
      )
      assert.deepStrictEqual(
        yield* notify(about("j", "x", "1970-01-01T00:00:01.999Z")),
        refused("timestamp is before the job was scheduled", 0)
      )
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("are refused 300 seconds after the job's end", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("finished", "canceled")
      yield* finish("finished")
      yield* emulator.cancelJob("canceled")
      const both = notify(about("finished", "x"), about("canceled", "x"))
      yield* TestClock.adjust("300 seconds")
      assert.deepStrictEqual(yield* both, accepted)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* both, refused("job finished more than 300 seconds ago", 0, 1))
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("are accepted in batches of 1 to 1000", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("j")
      const many = (length: number) => notify(...Array.from({ length }, () => about("j", "")))
      assert.strictEqual((yield* many(0)).status, 422)
      assert.strictEqual((yield* many(1000)).status, 200)
      assert.strictEqual((yield* many(1001)).status, 422)
    }).pipe(Effect.provide(emulated()))
  )
})
