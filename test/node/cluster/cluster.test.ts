/** A cluster on a simulated database: which process does what. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Redacted } from "effect"
import * as Simulated from "../../support/simulatedCluster.ts"

const { byLeading, during, simulated, timeUntil, until } = Simulated

const passed = JobRunner.Finished({ exitStatus: 0, detail: "done" })

describe("A cluster", () => {
  it.effect("runs each job once, on all of its processes, and keeps nothing of it", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        yield* cluster.addJobs(60, (index) => 100 + ((index * 37) % 250))
        for (let member = 0; member < 3; member++) yield* cluster.start()
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
        assert.lengthOf(cluster.runs, 60)
        assert.strictEqual(new Set(cluster.runs.map(({ name }) => name)).size, 3)
        yield* until(Effect.sync(() => cluster.database.jobs.size === 0))
      })
    )
  )

  it.effect("tells the runner of a canceled job why it should stop, on whichever process it runs", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const { acquireJob, cancelJob, jobs } = yield* StacksEmulator.StacksEmulator
        const reasons: Array<string> = []
        const run: Simulated.Run = ({ acquisitionToken, stopRequested }) =>
          Effect.gen(function* () {
            yield* acquireJob(Redacted.make(Redacted.value(yield* acquisitionToken)))
            reasons.push(yield* stopRequested)
            return JobRunner.AgentOwned
          })
        const canceled = yield* cluster.addJobs(4)
        yield* cluster.start({ run, slots: 2 })
        yield* cluster.start({ run, slots: 2 })
        yield* until(Effect.map(jobs, (all) => all.every(({ state }) => state === "running")))
        assert.strictEqual(new Set(cluster.runs.map(({ name }) => name)).size, 2)
        for (const jobUuid of canceled) yield* cancelJob(jobUuid)
        yield* until(Effect.sync(() => reasons.length === 4))
        assert.deepStrictEqual(reasons, ["Canceled", "Canceled", "Canceled", "Canceled"])
      })
    )
  )

  it.effect("does not stop a job by a request that was meant for an earlier run of it and takes effect late", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        let attempts = 0
        const run: Simulated.Run = ({ stopRequested }) =>
          ++attempts === 1
            ? Effect.fail(new JobRunner.JobRunnerError({ message: "Not now", isRetryable: true }))
            : Effect.raceFirst(
                Effect.as(Effect.sleep("20 seconds"), passed),
                Effect.as(stopRequested, JobRunner.Finished({ exitStatus: 143, detail: "stopped" }))
              )
        yield* cluster.start({ run })
        const [jobUuid = ""] = yield* cluster.addJobs(1)
        const rowOf = () => cluster.database.jobOf("s--q", jobUuid)
        yield* until(Effect.sync(() => (rowOf()?.dispatch ?? 0) > 0))
        const { dispatch = 0, id = 0 } = rowOf() ?? {}
        yield* until(Effect.sync(() => attempts === 2))
        const { fence = 0, leader } = cluster.database.leaders.get("s--q") ?? {}
        const term = { memberId: leader ?? 0, stackKey: "s--q", fence }
        yield* cluster.database.connect().requestStop(term, { jobUuid, id, dispatch }, "ReservationLost")
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )

  it.effect("starts a job that was hinted to a dead process within half a second", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const members = [yield* cluster.start({ slots: 2 }), yield* cluster.start({ slots: 20 })]
        yield* until(Effect.map(cluster.led(members), (led) => led.flat().length === 1))
        yield* during(Effect.sleep("3 seconds"))
        const [leader, other] = yield* byLeading(cluster, members)
        // The one with the most free slots is hinted first.
        assert.strictEqual(leader?.name, "m1")
        other?.kill()
        yield* cluster.addJobs(1)
        yield* until(Effect.sync(() => cluster.runs.length === 1))
        const offered = cluster.database.statements.find(({ operation }) => operation === "offer")
        assert.isAtMost((cluster.runs[0]?.from ?? 0) - (offered?.at ?? 0), 500)
      })
    )
  )

  it.effect("shares jobs among processes that are told nothing, and starts them within two and a half seconds", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        for (let member = 0; member < 3; member++) yield* cluster.start({ slots: 10, isDeaf: true })
        yield* during(Effect.sleep("3 seconds"))
        yield* cluster.addJobs(15, 60_000)
        yield* until(Effect.sync(() => cluster.database.jobs.size === 15))
        assert.isAtMost(yield* timeUntil(Effect.sync(() => cluster.runs.length === 15)), 2500)
        const counts = ["m1", "m2", "m3"].map((name) => cluster.runs.filter((run) => run.name === name).length)
        // Whoever looks first would have taken ten.
        assert.isAtMost(Math.max(...counts), 8)
      })
    )
  )

  it.effect("runs each job on another process where there are fewer jobs than processes", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        for (let member = 0; member < 5; member++) yield* cluster.start({ slots: 1 })
        yield* cluster.addJobs(3, 2000)
        yield* until(Effect.sync(() => cluster.runs.length === 3))
        assert.strictEqual(new Set(cluster.runs.map(({ name }) => name)).size, 3)
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )

  it.effect("gives each queue its turn where there are fewer slots than queues", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const queues = Array.from({ length: 4 }, (_, index) => `q${index}`)
        const one = { slots: 1, queues, shutdownGrace: "1 second" } as const
        yield* cluster.start(one)
        yield* cluster.start(one)
        const jobs: Array<ReadonlyArray<string>> = []
        for (const queue of queues) jobs.push(yield* cluster.addJobs(10, 2000, queue))
        const begun = () => jobs.map((ids) => cluster.runs.filter(({ jobUuid }) => ids.includes(jobUuid)).length)
        yield* until(Effect.sync(() => begun().every((count) => count > 0)))
        // No queue's jobs are over before each queue has had a turn.
        assert.isBelow(Math.max(...begun()), 10)
      })
    )
  )
})
