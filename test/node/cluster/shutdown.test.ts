/** How a process of a cluster is stopped, as by SIGTERM. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Effect, Fiber, Redacted, Schedule } from "effect"
import { TestClock } from "effect/testing"
import type { Storage } from "../../../packages/node/src/internal/cluster/storage.ts"
import * as Simulated from "../../support/simulatedCluster.ts"

const { during, simulated, until } = Simulated

const second = Schedule.spaced("1 second")

/** Lets time pass by the millisecond until something holds. */
const soon = (condition: () => boolean) =>
  Effect.gen(function* () {
    for (let step = 0; step < 20_000 && !condition(); step++) yield* TestClock.adjust("1 millis")
    assert.isTrue(condition())
  })

/** How many simulated milliseconds something takes. */
const timed = <E, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const from = yield* Clock.currentTimeMillis
    yield* during(effect)
    return (yield* Clock.currentTimeMillis) - from
  })

const leads = (cluster: Simulated.Simulation, member: Simulated.Member) =>
  Effect.map(cluster.led([member]), (led) => led.flat().length > 0)

const ownedBy = ({ database }: Simulated.Simulation, owner: number) =>
  Array.from(database.jobs.values()).filter((row) => row.owner === owner)

/** A process without jobs, 20 ms away from the database, that is stopped when its claim of eight jobs has just taken effect. */
const stopInClaim = (isAnswerLost: boolean) =>
  Effect.gen(function* () {
    const cluster = yield* Simulated.make
    const near = yield* cluster.start({ slots: 1, onProcessDeath: "fail" })
    yield* until(leads(cluster, near))
    const next = (name: keyof Storage) => (isAnswerLost && name === "claim" ? ("notTold" as const) : undefined)
    const faults = { latency: () => 20, next }
    const far = yield* cluster.start({ slots: 10, onProcessDeath: "fail", faults })
    yield* during(Effect.sleep("3 seconds"))
    yield* cluster.addJobs(8, 1000)
    yield* soon(() => ownedBy(cluster, 2).length > 0)
    yield* during(far.stop)
    yield* until(cluster.allOver)
    assert.isEmpty(yield* cluster.violations)
    assert.lengthOf(cluster.runs, 8)
  })

describe("A process that is stopped", () => {
  it.effect("fails no job that it had claimed and not begun", () => simulated(stopInClaim(false)))

  it.effect("fails no job of a claim whose answer was lost", () => simulated(stopInClaim(true)))

  it.effect("does not wait for a runner that ignores its interruption", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        let isOver = false
        const run = (): Effect.Effect<JobRunner.JobOutcome> =>
          Effect.uninterruptible(
            Effect.andThen(
              Effect.sleep("1 hour"),
              Effect.sync(() => (isOver = true))
            )
          ).pipe(Effect.andThen(Effect.interrupt))
        const member = yield* cluster.start({ shutdownGrace: "1 second", run })
        yield* cluster.addJobs(1)
        yield* until(Effect.sync(() => cluster.runs.length === 1))
        assert.isAtMost(yield* timed(member.stop), 26_000)
        assert.isFalse(isOver)
        assert.strictEqual(cluster.database.members.size, 0)
        // The next process has the job.
        yield* cluster.start()
        yield* until(cluster.allOver)
      })
    )
  )

  it.effect("hands its queue over within two seconds though the first attempt fails, while its jobs continue", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        let resigned = 0
        const next = (name: keyof Storage) => (name === "resign" && resigned++ === 0 ? ("notDone" as const) : undefined)
        yield* cluster.addJobs(3, 25_000)
        const first = yield* cluster.start({ faults: { latency: () => 0, next } })
        yield* until(Effect.sync(() => cluster.runs.length === 3))
        const second = yield* cluster.start()
        yield* during(Effect.sleep("3 seconds"))
        yield* Effect.forkChild(first.stop)
        assert.isAtMost(yield* timed(until(leads(cluster, second))), 2500)
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )

  it.effect("hands over a queue that it was about to take", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        let latency = 0
        const faults = { latency: () => latency, next: () => undefined }
        yield* cluster.addJobs(6, 25_000)
        const members: Array<Simulated.Member> = []
        for (let count = 0; count < 3; count++) members.push(yield* cluster.start({ slots: 2, faults }))
        yield* until(Effect.sync(() => cluster.runs.length === 6))
        latency = 20
        yield* during(Effect.sleep("3 seconds"))
        const row = cluster.database.leaders.get("s--q")
        const before = row?.fence ?? 0
        const leader = members[(row?.leader ?? 0) - 1]
        yield* Effect.forkChild(leader?.stop ?? Effect.void)
        yield* soon(() => (row?.fence ?? 0) > before)
        const taker = members[(row?.leader ?? 0) - 1]
        yield* Effect.forkChild(taker?.stop ?? Effect.void)
        const [third] = members.filter((member) => member !== leader && member !== taker)
        assert.isAtMost(yield* timed(until(leads(cluster, third ?? assert.fail()))), 3000)
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )

  for (const lockExpiration of ["5 seconds", "1 minute", "1 hour"] as const) {
    it.effect(
      `ends within 25 seconds and its grace without a database, with a lockExpiration of ${lockExpiration}`,
      () =>
        simulated(
          Effect.gen(function* () {
            const cluster = yield* Simulated.make
            const member = yield* cluster.start({ lockExpiration, shutdownGrace: "1 second" })
            yield* cluster.addJobs(2, 60_000)
            yield* until(Effect.sync(() => cluster.runs.length === 2))
            member.cut(true)
            assert.isAtMost(yield* timed(member.stop), 26_000)
            member.cut(false)
          })
        )
    )
  }

  it.effect("finishes the jobs of a queue that no other process lists", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const { jobs } = yield* StacksEmulator.StacksEmulator
        const old = yield* cluster.start({ queues: ["q", "r"] })
        yield* cluster.addJobs(1, 5000, "r")
        yield* until(Effect.sync(() => cluster.runs.length === 1))
        const replacement = yield* cluster.start({ queues: ["q"] })
        const stopping = yield* Effect.forkChild(old.stop)
        yield* during(Effect.sleep("2 seconds"))
        assert.deepStrictEqual(yield* cluster.led([old, replacement]), [["s--r"], ["s--q"]])
        // Nothing new is reserved that nobody could run.
        yield* cluster.addJobs(1, 100, "r")
        yield* during(Fiber.join(stopping))
        assert.deepStrictEqual((yield* jobs).map(({ exitStatus, state }) => ({ exitStatus, state })).slice(0, 1), [
          { exitStatus: 0, state: "finished" }
        ])
        assert.strictEqual((yield* jobs)[1]?.state, "scheduled")
      })
    )
  )

  it.effect("tells a runner that its job is canceled now", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const { acquireJob, cancelJob } = yield* StacksEmulator.StacksEmulator
        const reasons: Array<string> = []
        const run: Simulated.Run = ({ acquisitionToken, stopRequested }) =>
          Effect.gen(function* () {
            yield* acquireJob(Redacted.make(Redacted.value(yield* acquisitionToken)))
            reasons.push(yield* stopRequested)
            const canceled = Effect.repeat(stopRequested, {
              until: (reason) => reason === "Canceled",
              schedule: second
            })
            reasons.push(yield* canceled)
            return JobRunner.AgentOwned
          })
        const leaving = yield* cluster.start({ run, slots: 1, shutdownGrace: "2 minutes" })
        const [job = ""] = yield* cluster.addJobs(1)
        yield* until(Effect.sync(() => cluster.runs.length === 1))
        yield* cluster.start({ run, slots: 1 })
        const stopping = yield* Effect.forkChild(leaving.stop)
        yield* until(Effect.sync(() => reasons.length === 1))
        yield* cancelJob(job)
        yield* until(Effect.sync(() => reasons.length === 2))
        assert.deepStrictEqual(reasons, ["Shutdown", "Canceled"])
        yield* during(Fiber.join(stopping))
      })
    )
  )

  it.effect("finishes its jobs if it is the last one, or if all are stopped at once", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const members = [yield* cluster.start({ slots: 3 }), yield* cluster.start({ slots: 3 })]
        yield* cluster.addJobs(6, (index) => 3000 + index * 1000)
        yield* until(Effect.sync(() => cluster.runs.length === 6))
        yield* during(Effect.forEach(members, ({ stop }) => stop, { concurrency: "unbounded" }))
        assert.isTrue(yield* cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )
})

describe("A cluster", () => {
  it.effect("continues while the database refuses to delete the row of a dead process", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const next = (name: keyof Storage) => (name === "deleteExpired" ? ("notDone" as const) : undefined)
        yield* cluster.start({ faults: { latency: () => 0, next }, isDeaf: true })
        const dead = yield* cluster.start({ isDeaf: true })
        yield* during(Effect.sleep("3 seconds"))
        dead.kill()
        yield* during(Effect.sleep("8 seconds"))
        const before = cluster.database.statements.length
        yield* cluster.addJobs(3, 100)
        yield* during(Effect.sleep("10 seconds"))
        assert.isTrue(yield* cluster.allOver)
        assert.isAtMost(cluster.database.statements.length - before, 100)
      })
    )
  )

  it.effect("starts a job within seconds when one claim has no answer, also with a long lockExpiration", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        let isArmed = false
        const next = (name: keyof Storage) => {
          if (!isArmed || name !== "claim") return undefined
          isArmed = false
          return "late" as const
        }
        yield* cluster.start({ lockExpiration: "10 minutes", faults: { latency: () => 0, next } })
        yield* during(Effect.sleep("3 seconds"))
        isArmed = true
        yield* cluster.addJobs(1)
        assert.isAtMost(yield* timed(until(cluster.allOver)), 8000)
      })
    )
  )
})
