/** What becomes of the work of a process of a cluster that is killed, stopped or cut off, on a simulated database. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Deferred, Effect, Redacted } from "effect"
import * as Simulated from "../../support/simulatedCluster.ts"

const { byLeading, during, simulated, timeUntil, until } = Simulated

const passed = JobRunner.Finished({ exitStatus: 0, detail: "done" })

describe("A cluster", () => {
  it.effect("has another leader 6 seconds after one was killed, and starts what nobody had begun", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        yield* cluster.addJobs(200)
        const members = [yield* cluster.start(), yield* cluster.start(), yield* cluster.start()]
        yield* until(cluster.areOver(40))
        const [leader, ...others] = yield* byLeading(cluster, members)
        leader?.kill()
        const took = yield* timeUntil(Effect.map(cluster.led(others), (led) => led.flat().length === 1))
        assert.isAtMost(took, 6000)
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )

  it.effect("finishes all jobs while its oldest process is killed every 5 seconds", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        yield* cluster.addJobs(240, 4000)
        const members = [yield* cluster.start(), yield* cluster.start(), yield* cluster.start()]
        for (let kills = 0; kills < 30 && !(yield* cluster.allOver); kills++) {
          yield* during(Effect.sleep("5 seconds"))
          members.shift()?.kill()
          members.push(yield* cluster.start())
        }
        assert.isTrue(yield* cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )

  it.effect("fails the jobs that a killed process ran, without a free slot for them", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const mayEnd = yield* Deferred.make<void>()
        const one = { onProcessDeath: "fail", slots: 4, run: () => Effect.as(Deferred.await(mayEnd), passed) } as const
        yield* cluster.addJobs(8)
        const members = [yield* cluster.start(one), yield* cluster.start(one)]
        yield* until(Effect.sync(() => cluster.runs.length === 8))
        const [leader] = yield* byLeading(cluster, members)
        leader?.kill()
        // All slots of the other process are taken, by jobs that do not end.
        yield* until(cluster.areOver(4))
        const { jobs } = yield* StacksEmulator.StacksEmulator
        const failed = (yield* jobs).filter(({ state }) => state === "finished")
        assert.lengthOf(failed, 4)
        assert.deepStrictEqual(
          new Set(failed.map(({ detail }) => detail)),
          new Set(["The process that ran the job died before the job had ended"])
        )
        yield* Deferred.succeed(mayEnd, undefined)
        yield* until(cluster.allOver)
        assert.lengthOf(cluster.runs, 8)
      })
    )
  )

  it.effect("runs the jobs again that a killed process ran, where that is wanted", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        yield* cluster.addJobs(12, 5000)
        const members = [yield* cluster.start({ slots: 6 }), yield* cluster.start({ slots: 6 })]
        yield* until(Effect.sync(() => cluster.runs.length === 12))
        const [, other] = yield* byLeading(cluster, members)
        other?.kill()
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
        assert.lengthOf(cluster.runs, 18)
      })
    )
  )

  it.effect("leaves the jobs to their agents that a killed process had started", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const { acquireJob, completeJob, jobs } = yield* StacksEmulator.StacksEmulator
        const run: Simulated.Run = ({ acquisitionToken, state }) =>
          Effect.gen(function* () {
            yield* acquireJob(Redacted.make(Redacted.value(yield* acquisitionToken)))
            yield* Effect.repeat(Effect.delay(state, "1 second"), { until: (state) => state === "finished" })
            return JobRunner.AgentOwned
          })
        yield* cluster.addJobs(4)
        const one = { slots: 2, onProcessDeath: "fail", run } as const
        const members = [yield* cluster.start(one), yield* cluster.start(one)]
        const running = Effect.map(jobs, (all) => all.filter(({ state }) => state === "running"))
        yield* until(Effect.map(running, ({ length }) => length === 4))
        const [leader] = yield* byLeading(cluster, members)
        leader?.kill()
        yield* during(Effect.sleep("10 seconds"))
        assert.lengthOf(yield* running, 4)
        for (const { id } of yield* running) yield* completeJob(id, 0)
        yield* until(Effect.sync(() => cluster.database.jobs.size === 0))
        assert.isEmpty((yield* jobs).filter(({ exitStatus }) => exitStatus !== 0))
        assert.lengthOf(cluster.runs, 4)
      })
    )
  )

  it.effect("hands its queues over within 1.5 seconds when it is stopped, and fails no job", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        yield* cluster.addJobs(100, 2000)
        const members = [yield* cluster.start(), yield* cluster.start()]
        yield* until(Effect.sync(() => cluster.runs.length === 20))
        const [leader, ...others] = yield* byLeading(cluster, members)
        yield* Effect.forkChild(leader?.stop ?? Effect.void)
        const took = yield* timeUntil(Effect.map(cluster.led(others), (led) => led.flat().length === 1))
        assert.isAtMost(took, 1500)
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
        assert.lengthOf(cluster.runs, 100)
      })
    )
  )

  it.effect("stops what it runs before another process starts it, when it is cut off from the database", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        yield* cluster.addJobs(40, 20_000)
        const members = [yield* cluster.start(), yield* cluster.start()]
        yield* until(Effect.sync(() => cluster.runs.length === 20))
        const [leader, other] = yield* byLeading(cluster, members)
        leader?.cut(true)
        yield* until(
          Effect.map(
            leader?.status ?? Effect.never,
            ({ phase, running }) => phase === "partitioned" && running.length === 0
          )
        )
        yield* until(
          Effect.map(
            cluster.led([other ?? leader ?? members[0]].flatMap((one) => one ?? [])),
            (led) => led.flat().length === 1
          )
        )
        leader?.cut(false)
        yield* until(Effect.map(leader?.status ?? Effect.never, ({ phase }) => phase === "running"))
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )

  it.effect("goes on by itself after an outage of the database for all", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        yield* cluster.addJobs(40, 3000)
        const members = [yield* cluster.start(), yield* cluster.start(), yield* cluster.start()]
        yield* until(Effect.sync(() => cluster.runs.length >= 20))
        for (const member of members) member.cut(true)
        yield* during(Effect.sleep("30 seconds"))
        for (const member of members) member.cut(false)
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )
})

describe("A cluster whose agents live elsewhere", () => {
  it.effect("has its leader watch them, and the next one after it", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const { acquireJob, completeJob, jobs } = yield* StacksEmulator.StacksEmulator
        /** The place where they live: it outlives all processes. */
        const agents = new Set<string>()
        const run: Simulated.Run = ({ acquisitionToken, job, state }) =>
          Effect.gen(function* () {
            if (!agents.has(job.id)) {
              yield* acquireJob(Redacted.make(Redacted.value(yield* acquisitionToken)))
              agents.add(job.id)
            }
            yield* Effect.repeat(Effect.delay(state, "1 second"), { until: (state) => state === "finished" })
            return JobRunner.AgentOwned
          })
        yield* cluster.addJobs(6)
        const elsewhere = { slots: 3, run, outlivesStack: true, onProcessDeath: "fail" } as const
        const members = [yield* cluster.start(elsewhere), yield* cluster.start(elsewhere)]
        yield* until(Effect.sync(() => agents.size === 6))
        const [leader, ...others] = yield* byLeading(cluster, members)
        assert.strictEqual(new Set(cluster.runs.map(({ name }) => name)).size, 1)
        leader?.kill()
        yield* until(Effect.map(cluster.led(others), (led) => led.flat().length === 1))
        const running = (yield* jobs).filter(({ state }) => state === "running")
        assert.lengthOf(running, 6)
        yield* until(Effect.map(others[0]?.status ?? Effect.never, ({ running }) => running.length === 6))
        for (const { id } of running) yield* completeJob(id, 0)
        yield* until(Effect.sync(() => cluster.database.jobs.size === 0))
        assert.isEmpty((yield* jobs).filter(({ exitStatus }) => exitStatus !== 0))
        assert.strictEqual(agents.size, 6)
      })
    )
  )
})
