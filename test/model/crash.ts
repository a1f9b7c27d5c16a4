/** A process that dies, at any of its steps. */
import { SlotPool } from "@stacksapi/core"
import { Effect, Exit, Fiber, Scope } from "effect"
import * as Invariants from "./invariants.ts"
import { isAgentOwned, isOver, observe } from "./ownership.ts"
import { endAgentsOf } from "./runners.ts"
import type { Life, StackProcess, World } from "./world.ts"

/** A step of a process: a request, a call of its provider, or a write to its store. The process may be about to die with it. */
export const step = <A, E, R>(world: World, life: Life, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    if (!life.isAlive) return Effect.never
    const { fuse } = life.process
    if (fuse === undefined || --fuse.left > 0) return effect
    life.process.fuse = undefined
    const die = crash(world, life.process, true)
    return Effect.andThen(fuse.isProcessed ? Effect.ensuring(Effect.exit(effect), die) : die, Effect.never)
  })

/** The process dies: all stacks in it. `isBusy`: it is not at rest at this moment. */
export const crash = (world: World, process: StackProcess, isBusy = false): Effect.Effect<void> =>
  Effect.gen(function* () {
    // Stacks that share a pool share a process.
    for (const { life } of world.pool === undefined ? [process] : world.processes) {
      if (life !== undefined) yield* crashLife(world, life, isBusy)
    }
    if (world.pool !== undefined) world.pool = yield* Effect.orDie(SlotPool.make(world.pool.size()))
  })

const crashLife = (world: World, life: Life, isBusy: boolean) =>
  Effect.gen(function* () {
    const { scope, starting } = life
    if (!life.isPresent || scope === undefined || starting === undefined) return
    world.note(`model: crash ${life.name}`)
    yield* observe(world)
    if (isBusy && life.plan.hasStore) yield* forgetUnsaved(world, life)
    yield* Invariants.onCrash(world, life)
    life.isAlive = false
    for (const run of life.active.values()) run.endedAt = world.now
    life.active.clear()
    if (!life.plan.hasStore) forgetOutcomes(world, life)
    for (const entry of world.deadlines) if (entry.life === life) world.deadlines.delete(entry)
    yield* endAgentsOf(world, life)
    // What is left of it does nothing that could be seen.
    yield* Effect.forkDetach(Effect.andThen(Fiber.interrupt(starting), Scope.close(scope, Exit.void)))
  })

/** Without a store, what was not sent is lost with the process: the job may run again. */
const forgetOutcomes = (world: World, life: Life) => {
  for (const { runs } of world.jobs.values()) {
    for (const run of runs) if (run.life === life) run.expects = undefined
  }
}

/** A process that dies at the moment at which a run has ended has no time to save its outcome. */
const forgetUnsaved = (world: World, life: Life): Effect.Effect<void> =>
  Effect.gen(function* () {
    const saved = yield* Effect.orDie(life.process.store.load(life.plan.key))
    const outcomes = new Set(saved.flatMap(({ job, outcome }) => (outcome === undefined ? [] : [job.id])))
    for (const job of world.jobs.values()) {
      const run = job.runs.at(-1)
      if (run?.life !== life || run.endedAt !== world.now || outcomes.has(job.plan.id)) continue
      if (!isOver(job.view.state) && !isAgentOwned(job.view.state)) run.expects = undefined
    }
  })
