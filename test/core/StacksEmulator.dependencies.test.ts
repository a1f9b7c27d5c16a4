import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Cause, DateTime, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, emulated, finish, job, list, register, reserve, states } from "../support/emulated.ts"

const end = (id: string, exitStatus: number) =>
  Effect.andThen(reserve([id]), finish(id, { detail: "done", exit_status: exitStatus }))

describe("A job that depends on others", () => {
  it.effect("is not listed until all of them have passed, and is listed by the next response", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("lint", "test", { id: "ship", dependsOn: ["lint", "test"] })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual((yield* list()).ids, ["lint", "test"])
      yield* end("lint", 0)
      assert.deepStrictEqual((yield* states("ship")).body, { states: { ship: "waiting" } })
      assert.deepStrictEqual((yield* reserve(["ship"])).body, { reserved: [], not_reserved: ["ship"] })
      yield* end("test", 0)
      assert.deepStrictEqual((yield* list()).ids, ["ship"])
      const { runnableAt, scheduledAt } = yield* job("ship")
      assert.deepStrictEqual(
        [scheduledAt, runnableAt].map((time) => time && DateTime.toEpochMillis(time)),
        [0, 60_000]
      )
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("never runs if one of them fails, and neither do the jobs that depend on it", () =>
    Effect.gen(function* () {
      const { cancelJob } = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs(
        "test",
        "canceled",
        { id: "ship", dependsOn: ["test"] },
        { id: "announce", dependsOn: ["ship"] },
        { id: "report", dependsOn: ["canceled"] }
      )
      yield* end("test", 1)
      yield* cancelJob("canceled")
      for (const id of ["ship", "announce", "report"]) {
        const { finishedAt, state } = yield* job(id)
        assert.strictEqual(state, "waiting_failed")
        assert.isDefined(finishedAt)
      }
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("runs after failures that it or the failed job allows", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs(
        "test",
        { id: "any", softFail: true },
        { id: "some", softFail: [3] },
        { id: "clean-up", dependsOn: ["test"], allowDependencyFailure: true },
        { id: "next", dependsOn: ["any", "some"] },
        { id: "not-next", dependsOn: ["test"] }
      )
      yield* end("test", 1)
      yield* end("any", 7)
      yield* end("some", 3)
      assert.deepStrictEqual((yield* list()).ids, ["clean-up", "next"])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("can be canceled while it waits", () =>
    Effect.gen(function* () {
      const { cancelJob } = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("test", { id: "ship", dependsOn: ["test"] })
      yield* cancelJob("ship")
      yield* end("test", 0)
      assert.strictEqual((yield* job("ship")).state, "canceled")
      assert.deepStrictEqual((yield* list()).ids, [])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("can be added after its dependencies have ended, and fails for unknown dependencies", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("test")
      yield* end("test", 0)
      yield* addJobs({ id: "ship", dependsOn: ["test"] })
      assert.deepStrictEqual((yield* list()).ids, ["ship"])
      const exit = yield* Effect.exit(addJobs({ id: "lost", dependsOn: ["nothing"] }))
      assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "a job depends on nothing")
    }).pipe(Effect.provide(emulated()))
  )
})
