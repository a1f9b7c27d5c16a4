/** Warm agents: what becomes of a job when machines leave, and when the stack restarts. */
import { assert, describe, it } from "@effect/vitest"
import { JobStore, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Deferred, type Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Idle, nextWork, Runner } from "../../examples/warm-agents.ts"
import { addJobs, census, emulated, jobOf, slowly, within } from "../support/stacks.ts"

const services = Runner.pipe(
  Layer.provideMerge(Idle.layer),
  Layer.provideMerge(Layer.merge(emulated(), JobStore.layerMemory))
)

/** A stack that can be closed. */
const begin = Effect.gen(function* () {
  const scope = yield* Scope.make()
  yield* Stack.make({ key: "s", queueKey: "q", maxInFlight: 2 }).pipe(Scope.provide(scope))
  const close = within("2 minutes", Scope.close(scope, Exit.void))
  yield* Effect.addFinalizer(() => close)
  return { close }
})

/** A machine that runs one job. */
const runOne = Effect.fnUntraced(function* (duration: Duration.Input) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const { jobUuid, token } = yield* nextWork
  yield* emulator.acquireJob(token)
  yield* Effect.sleep(duration)
  yield* emulator.completeJob(jobUuid, 0)
})

describe("Warm agents", () => {
  it.effect("wait for jobs, and run each once", () =>
    Effect.gen(function* () {
      yield* begin
      for (const _ of [1, 2]) yield* Effect.forkChild(Effect.forever(runOne("5 seconds")))
      yield* slowly("10 seconds", "500 millis")
      yield* addJobs(6)
      yield* slowly("1 minute", "500 millis")
      assert.deepStrictEqual(yield* census, { "finished 0": 6 })
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.effect("that leave while they wait get no job", () =>
    Effect.gen(function* () {
      yield* begin
      const leaving = yield* Effect.forkChild(runOne("1 second"))
      yield* slowly("2 seconds", "500 millis")
      yield* Fiber.interrupt(leaving)
      const [id = ""] = yield* addJobs(1)
      yield* slowly("5 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      yield* Effect.forkChild(runOne("1 second"))
      yield* slowly("5 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "finished")
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.effect("that die with a job before they start it leave it to another one", () =>
    Effect.gen(function* () {
      yield* begin
      yield* Effect.forkChild(nextWork)
      const [id = ""] = yield* addJobs(1)
      yield* slowly("30 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "reserved")
      yield* Effect.forkChild(runOne("1 second"))
      yield* slowly("1 minute", "500 millis")
      assert.strictEqual((yield* jobOf(id)).exitStatus, 0)
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.effect("go on while the stack restarts, and no job is handed over twice", () =>
    Effect.gen(function* () {
      const handed = Deferred.makeUnsafe<void>()
      const first = yield* begin
      yield* Effect.forkChild(Effect.andThen(runOne("1 minute"), Deferred.succeed(handed, undefined)))
      const [id = ""] = yield* addJobs(1)
      yield* slowly("10 seconds", "500 millis")
      assert.strictEqual((yield* jobOf(id)).state, "running")
      yield* first.close
      const spare = yield* Effect.forkChild(nextWork)
      yield* begin
      yield* slowly("2 minutes", "1 second")
      assert.strictEqual((yield* jobOf(id)).exitStatus, 0)
      assert.isTrue(Deferred.isDoneUnsafe(handed))
      assert.isUndefined(spare.pollUnsafe())
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})
