/** A cluster on a simulated database: who does what, and what becomes of jobs when processes come and go. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, Deferred, Effect, Redacted } from "effect"
import * as Simulated from "../../support/simulatedCluster.ts"

const { during, simulated, until } = Simulated

const passed = JobRunner.Finished({ exitStatus: 0, detail: "done" })

/** The members, those that lead first. */
const byLeading = (cluster: Simulated.Simulation, members: ReadonlyArray<Simulated.Member>) =>
  Effect.map(cluster.led(members), (led) =>
    members.toSorted((a, b) => (led[members.indexOf(b)]?.length ?? 0) - (led[members.indexOf(a)]?.length ?? 0))
  )

/** How many milliseconds pass until something holds, to a tenth of a second. */
const timeUntil = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function* () {
    const from = yield* Clock.currentTimeMillis
    yield* until(condition)
    return (yield* Clock.currentTimeMillis) - from
  })

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

  it.effect("tells the runner of a canceled job why it should stop", () =>
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
        const [jobUuid = ""] = yield* cluster.addJobs(1)
        const members = [yield* cluster.start({ run }), yield* cluster.start({ run })]
        yield* until(Effect.map(jobs, (all) => all.every(({ state }) => state === "running")))
        // Whoever runs it does not lead.
        const [leader] = yield* byLeading(cluster, members)
        yield* cancelJob(jobUuid)
        yield* until(Effect.sync(() => reasons.length === 1))
        assert.deepStrictEqual(reasons, ["Canceled"])
        assert.isDefined(leader)
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

  it.effect("shares jobs among processes that are told nothing, and starts them within two seconds", () =>
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

  it.effect("runs fewer jobs than it has processes, and more processes than it has slots for queues", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const queues = Array.from({ length: 12 }, (_, index) => `q${index}`)
        for (let member = 0; member < 5; member++) yield* cluster.start({ slots: 1, queues })
        for (const queue of queues) yield* cluster.addJobs(3, 500, queue)
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )

  it.effect("takes turns where there are fewer slots than queues", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const queues = Array.from({ length: 6 }, (_, index) => `q${index}`)
        yield* cluster.start({ slots: 1, queues })
        yield* cluster.start({ slots: 1, queues })
        for (const queue of queues) yield* cluster.addJobs(4, 200, queue)
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )
})

describe("The queues of a cluster", () => {
  const counts = (cluster: Simulated.Simulation, members: ReadonlyArray<Simulated.Member>) =>
    Effect.map(cluster.led(members), (led) => led.map(({ length }) => length))
  const isSpread = (cluster: Simulated.Simulation, members: ReadonlyArray<Simulated.Member>, queues: number) =>
    Effect.map(
      counts(cluster, members),
      (counts) =>
        counts.reduce((sum, count) => sum + count, 0) === queues && Math.max(...counts) - Math.min(...counts) <= 1
    )

  it.effect("are spread evenly when processes join, leave and are killed, and when queues are added and removed", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const queues = Array.from({ length: 20 }, (_, index) => `q${index}`)
        const members = [
          yield* cluster.start({ queues }),
          yield* cluster.start({ queues }),
          yield* cluster.start({ queues })
        ]
        yield* until(isSpread(cluster, members, 20))
        members.push(yield* cluster.start({ queues }))
        yield* until(isSpread(cluster, members, 20))
        yield* during(members.shift()?.stop ?? Effect.void)
        yield* until(isSpread(cluster, members, 20))
        members.shift()?.kill()
        yield* until(isSpread(cluster, members, 20))
        // One more, and without the first two, process by process.
        const others = [...queues.slice(2), "q20"]
        for (let index = 0; index < 2; index++) {
          members.push(yield* cluster.start({ queues: others }))
          yield* during(members.shift()?.stop ?? Effect.void)
        }
        yield* until(isSpread(cluster, members, 19))
        const led = new Set((yield* cluster.led(members)).flat())
        assert.isFalse(led.has("s--q0"))
        assert.isTrue(led.has("s--q20"))
        yield* cluster.addJobs(3, 100, "q20")
        yield* until(cluster.allOver)
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )

  it.effect("are led and run only where they are listed", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const members = [yield* cluster.start({ queues: ["a", "b"] }), yield* cluster.start({ queues: ["b", "c"] })]
        yield* until(Effect.map(cluster.led(members), (led) => led.flat().length === 3))
        const [first = [], second = []] = yield* cluster.led(members)
        assert.include(first, "s--a")
        assert.include(second, "s--c")
        const a = yield* cluster.addJobs(15, 100, "a")
        yield* cluster.addJobs(15, 100, "b")
        const c = yield* cluster.addJobs(15, 100, "c")
        yield* until(cluster.allOver)
        for (const { jobUuid, name } of cluster.runs) {
          if (a.includes(jobUuid)) assert.strictEqual(name, "m1")
          if (c.includes(jobUuid)) assert.strictEqual(name, "m2")
        }
        assert.isEmpty(yield* cluster.violations)
      })
    )
  )
})

describe("A cluster whose database is far away", () => {
  for (const millis of [50, 150, 300]) {
    it.effect(`works with ${millis} ms for each statement`, () =>
      simulated(
        Effect.gen(function* () {
          const cluster = yield* Simulated.make
          const faults = { next: () => undefined, latency: () => millis / 2 }
          const members = [
            yield* cluster.start({ faults }),
            yield* cluster.start({ faults }),
            yield* cluster.start({ faults })
          ]
          yield* cluster.addJobs(60)
          yield* until(cluster.areOver(20), 1)
          const [leader] = yield* byLeading(cluster, members)
          leader?.kill()
          yield* until(cluster.allOver, 1)
          assert.isEmpty(yield* cluster.violations)
        })
      )
    )
  }
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
