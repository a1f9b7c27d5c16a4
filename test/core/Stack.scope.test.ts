/** Every run has a scope of its own. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { addJobs, census, done, emulated, slowly, start } from "../support/stacks.ts"

describe("A resource that a run acquires", () => {
  it.effect("is released when this run ends, not when the stack does", () =>
    Effect.gen(function* () {
      yield* addJobs(6)
      let machines = 0
      let most = 0
      yield* start(
        (() =>
          Effect.acquireRelease(
            Effect.sync(() => {
              most = Math.max(most, ++machines)
            }),
            () => Effect.sync(() => void machines--)
          ).pipe(Effect.andThen(Effect.sleep("1 second")), Effect.as(done))) as never,
        { maxInFlight: 2 }
      )
      yield* slowly("20 seconds", "200 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 6 })
      assert.strictEqual(machines, 0)
      assert.strictEqual(most, 2)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("does not change the job's outcome if its release fails", () =>
    Effect.gen(function* () {
      yield* addJobs(2)
      yield* start((() =>
        Effect.acquireRelease(Effect.void, () => Effect.die("the machine does not go off")).pipe(
          Effect.as(done)
        )) as never)
      yield* slowly("5 seconds", "200 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 2 })
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
