/** A stack whose service fails in every way: no job is lost, none runs twice, nothing is left behind. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Exit, Metric } from "effect"
import { TestClock } from "effect/testing"
import { addJobs, census, emulated, everyFault, within } from "../support/stacks.ts"

interface Chaos {
  readonly seed: number
  readonly jobs: number
  readonly slots: number
}

/** Half of the jobs are run here, the other half by agents; each says something on its page. */
const chaos = ({ jobs, seed, slots }: Chaos) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    const ids = yield* addJobs(jobs)
    const byAgent = new Set(ids.filter((_, index) => index % 2 === 0))
    const runs = new Map<string, number>()
    let running = 0
    let mostRunning = 0
    let mostReserved = 0
    const runner = JobRunner.layer(({ job, notify }) =>
      Effect.gen(function* () {
        runs.set(job.id, (runs.get(job.id) ?? 0) + 1)
        running++
        mostRunning = Math.max(mostRunning, running)
        yield* notify(`running ${job.id}`)
        yield* Effect.sleep("3 seconds")
        if (!byAgent.has(job.id)) return JobRunner.Finished({ exitStatus: 0, detail: "done" })
        yield* emulator.acquireJob(job.id)
        return JobRunner.AgentOwned
      }).pipe(Effect.ensuring(Effect.sync(() => void running--)))
    )
    yield* emulator.setFaults(everyFault(0.2))
    const stack = Stack.runUntilIdle({ key: "s", queueKey: "q", maxInFlight: slots, pollInterval: "10 seconds" }).pipe(
      Effect.provide(runner)
    )
    const watching = yield* Effect.gen(function* () {
      const all = yield* emulator.jobs
      mostReserved = Math.max(mostReserved, all.filter(({ state }) => state === "reserved").length)
    }).pipe(Effect.delay("631 seconds"), Effect.forever, Effect.forkChild)
    const { exit } = yield* within("10 hours", stack, "20 seconds")
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(exit, Exit.void)
    assert.isDefined(watching)

    assert.deepStrictEqual(new Set(runs.values()), new Set([1]))
    assert.strictEqual(runs.size, jobs)
    assert.deepStrictEqual(yield* census, { "finished 0": jobs - byAgent.size, running: byAgent.size })
    assert.isAtMost(mostRunning, slots)
    // A job that waits to be finished holds no slot; there are at most as many of them as slots.
    assert.isAtMost(mostReserved, 2 * slots)

    // Each notification came to an end that is counted, and those that were delivered are there.
    const reported = yield* Metric.snapshot
    const outcomes = new Map<unknown, number>()
    for (const { attributes, id, state } of reported) {
      if (id === "stacksapi_notifications" && "count" in state)
        outcomes.set(attributes?.["outcome"], Number(state.count))
    }
    const stored = yield* emulator.notifications
    const sum = Array.from(outcomes.values()).reduce((a, b) => a + b, 0)
    assert.strictEqual(sum, jobs)
    assert.isAtLeast(new Set(stored.map(({ jobUuid }) => jobUuid)).size, outcomes.get("delivered") ?? 0)
    return { runs: runs.size }
  }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()), Effect.provide(emulated({ seed })))

describe("Stack in chaos", () => {
  it.effect("runs 20,000 jobs once each with 64 slots, though 20 % of all responses fail in every way", () =>
    chaos({ jobs: 20_000, seed: 1, slots: 64 })
  )

  for (const seed of [2, 3, 5, 8, 13]) {
    it.effect(`does so with other random numbers, too (${seed})`, () => chaos({ jobs: 1000, seed, slots: 64 }))
  }
})
