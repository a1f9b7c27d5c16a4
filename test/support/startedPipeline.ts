/** A pipeline on an emulator in memory, whose jobs a test begins and ends one by one. */
import { assert } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Cause, Effect, Exit } from "effect"
import { labelOf } from "./rehearse.ts"

/** An emulator with a build of these steps. */
export const started = Effect.fnUntraced(function* (...steps: ReadonlyArray<unknown>) {
  const emulator = yield* StacksEmulator.make()
  yield* emulator.uploadPipelines([{ steps }])
  return emulator
})

export const listed = (emulator: StacksEmulator.Service) =>
  Effect.map(emulator.jobs, (jobs) => jobs.filter(({ state }) => state === "scheduled").map(labelOf))

export const jobOf = (emulator: StacksEmulator.Service, label: string) =>
  Effect.map(emulator.jobs, (jobs) => {
    const job = jobs.findLast((job) => labelOf(job) === label)
    assert(job)
    return job
  })

export const begin = Effect.fnUntraced(function* (emulator: StacksEmulator.Service, label: string) {
  const { id } = yield* jobOf(emulator, label)
  yield* emulator.acquireJob(id)
  return id
})

export const end = Effect.fnUntraced(function* (emulator: StacksEmulator.Service, label: string, exitStatus = 0) {
  const id = yield* begin(emulator, label)
  yield* emulator.completeJob(id, exitStatus)
})

export const stepStates = (emulator: StacksEmulator.Service) =>
  Effect.map(emulator.steps, (steps) =>
    Object.fromEntries(steps.map(({ key, kind, label, state }) => [key ?? label ?? kind, state]))
  )

export const problemOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.exit(effect), (exit) => (Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "no problem"))
