/** How a runner learns that its job should stop, and when it is interrupted. */
import { assert, describe, it } from "@effect/vitest"
import type { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Effect, Exit, Scope } from "effect"
import { rewriting } from "../support/oddResponses.ts"
import { addJobs, countOf, emulated, type Run, slowly, start, within } from "../support/stacks.ts"

/** A runner that never ends by itself, and notes when it is told to stop and when it is interrupted. */
const noting = (before: Run = () => Effect.never) => {
  const notes: Array<readonly [what: JobRunner.StopReason | "interrupted", at: number]> = []
  const note = (what: JobRunner.StopReason | "interrupted") =>
    Effect.map(Clock.currentTimeMillis, (now) => void notes.push([what, Math.round(now / 1000)]))
  const run: Run = (context) =>
    Effect.raceFirst(before(context), Effect.andThen(Effect.flatMap(context.stopRequested, note), Effect.never)).pipe(
      Effect.onInterrupt(() => note("interrupted"))
    )
  return { notes, run }
}

const acquires: Effect.Effect<Run, never, StacksEmulator.StacksEmulator> = Effect.map(
  StacksEmulator.StacksEmulator,
  (emulator): Run =>
    ({ acquisitionToken }) =>
      Effect.andThen(Effect.flatMap(acquisitionToken, emulator.acquireJob), Effect.never)
)

describe("A runner", () => {
  it.effect("whose canceled job has an agent gets Canceled, and is interrupted only after cancelGrace", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      const { notes, run } = noting(yield* acquires)
      const stack = yield* start(run, { stateInterval: "1 second", cancelGrace: "20 seconds" })
      yield* slowly("5 seconds", "500 millis")
      yield* emulator.cancelJob(id)
      yield* slowly("19 seconds", "500 millis")
      assert.deepStrictEqual(
        notes.map(([what]) => what),
        ["Canceled"]
      )
      yield* slowly("5 seconds", "500 millis")
      const [told, interrupted] = notes
      assert.strictEqual(interrupted?.[0], "interrupted")
      assert.strictEqual((interrupted?.[1] ?? 0) - (told?.[1] ?? 0), 20)
      assert.strictEqual(stack.names().at(-1), "Canceled")
      assert.strictEqual(yield* countOf("finishJob"), 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("whose agent ends the canceled job within cancelGrace is not interrupted", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      const { notes, run } = noting(yield* acquires)
      yield* start(run, { stateInterval: "1 second", cancelGrace: "20 seconds" })
      yield* slowly("5 seconds", "500 millis")
      yield* emulator.cancelJob(id)
      yield* slowly("3 seconds", "500 millis")
      yield* emulator.completeJob(id)
      yield* slowly("10 seconds", "500 millis")
      assert.deepStrictEqual(
        notes.map(([what]) => what),
        ["Canceled"]
      )
      yield* slowly("10 seconds", "500 millis")
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("whose canceled job has no agent is interrupted at once", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [id = ""] = yield* addJobs(1)
      const { notes, run } = noting()
      yield* start(run, { stateInterval: "1 second", cancelGrace: "20 seconds" })
      yield* slowly("5 seconds", "500 millis")
      yield* emulator.cancelJob(id)
      yield* slowly("2 seconds", "500 millis")
      assert.include(
        notes.map(([what]) => what),
        "interrupted"
      )
      assert.strictEqual(yield* countOf("finishJob"), 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("whose job times out gets TimedOut, and its agent has cancelGrace", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* addJobs(1)
      const { notes, run } = noting(yield* acquires)
      let state: string | undefined
      yield* start(run, { stateInterval: "1 second", cancelGrace: "20 seconds" }).pipe(
        Effect.provide(rewriting("/get-states", (body) => (state === undefined ? body : { states: { [id]: state } })))
      )
      yield* slowly("5 seconds", "500 millis")
      state = "timing_out"
      yield* slowly("10 seconds", "500 millis")
      assert.deepStrictEqual(
        notes.map(([what]) => what),
        ["TimedOut"]
      )
      yield* slowly("15 seconds", "500 millis")
      assert.strictEqual(notes.at(-1)?.[0], "interrupted")
      assert.strictEqual(yield* countOf("finishJob"), 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("whose reservation is lost gets ReservationLost, and is interrupted at once", () =>
    Effect.gen(function* () {
      const [id = ""] = yield* addJobs(1)
      let isLost = false
      const { notes, run } = noting()
      const stack = yield* start(run, { reservationExpiry: "20 seconds" }).pipe(
        Effect.provide(rewriting("/batch-reserve", (body) => (isLost ? { reserved: [], not_reserved: [id] } : body)))
      )
      yield* slowly("2 seconds", "500 millis")
      isLost = true
      yield* slowly("6 seconds", "500 millis")
      assert.include(stack.names(), "ReservationLost")
      assert.strictEqual(notes.at(-1)?.[0], "interrupted")
      assert.strictEqual(yield* countOf("finishJob"), 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("of a stack that drains gets Shutdown, and is interrupted after shutdownGrace", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const { notes, run } = noting()
      const stack = yield* start(run, { shutdownGrace: "15 seconds" })
      yield* slowly("2 seconds", "500 millis")
      yield* within("1 minute", stack.drain)
      const [told, interrupted] = notes
      assert.strictEqual(told?.[0], "Shutdown")
      assert.strictEqual((interrupted?.[1] ?? 0) - (told?.[1] ?? 0), 15)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("of a stack that detaches gets Detach, and is interrupted at once", () =>
    Effect.gen(function* () {
      yield* addJobs(1)
      const { notes, run } = noting()
      const scope = yield* Scope.make()
      yield* start(run, { onClose: "detach" }).pipe(Scope.provide(scope))
      yield* slowly("2 seconds", "500 millis")
      yield* within("1 minute", Scope.close(scope, Exit.void))
      assert.strictEqual(notes.at(-1)?.[0], "interrupted")
      assert.strictEqual(yield* countOf("finishJob"), 0)
      assert.strictEqual(yield* countOf("deregisterStack"), 0)
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )

  it.effect("gets the current reason each time it asks: Shutdown, then Canceled or Detach", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const [canceled = ""] = yield* addJobs(2)
      const reasons = new Map<string, Array<JobRunner.StopReason>>()
      const run: Run = ({ job, stopRequested }) => {
        const all: Array<JobRunner.StopReason> = []
        reasons.set(job.id, all)
        const note = Effect.map(stopRequested, (reason) => void all.push(reason))
        return Effect.onInterrupt(Effect.andThen(note, Effect.never), () => note)
      }
      const scope = yield* Scope.make()
      const stack = yield* start(run, { onClose: "detach", shutdownGrace: "1 hour" }).pipe(Scope.provide(scope))
      yield* slowly("2 seconds", "500 millis")
      yield* Effect.forkChild(stack.drain)
      yield* slowly("2 seconds", "500 millis")
      yield* emulator.cancelJob(canceled)
      yield* slowly("10 seconds", "500 millis")
      yield* within("1 minute", Scope.close(scope, Exit.void))
      assert.deepStrictEqual(reasons.get(canceled), ["Shutdown", "Canceled"])
      assert.sameDeepMembers(Array.from(reasons.values()), [
        ["Shutdown", "Canceled"],
        ["Shutdown", "Detach"]
      ])
    }).pipe(Effect.scoped, Effect.provide(emulated()))
  )
})
