/** The queues of a cluster: who leads them, and processes that list different ones. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import * as Simulated from "../../support/simulatedCluster.ts"

const { during, simulated, until } = Simulated

it.effect("All slots of a cluster are used while jobs wait for them, though its processes list different queues", () =>
  simulated(
    Effect.gen(function* () {
      const cluster = yield* Simulated.make
      yield* cluster.start({ name: "A", slots: 2, queues: ["q1", "q2"], shutdownGrace: "1 second" })
      yield* cluster.start({ name: "B", slots: 10, queues: ["q3"], shutdownGrace: "1 second" })
      yield* during(Effect.sleep("3 seconds"))
      for (const queue of ["q1", "q2"]) yield* cluster.addJobs(20, 60_000, queue)
      yield* cluster.addJobs(30, 60_000, "q3")
      yield* during(Effect.sleep("15 seconds"))
      const runningAt = (name: string) =>
        cluster.runs.filter((run) => run.name === name && run.to === Number.POSITIVE_INFINITY).length
      assert.deepStrictEqual([runningAt("A"), runningAt("B")], [2, 10])
    })
  )
)

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

  it.effect("finish the jobs that run when they are removed, process by process, and reserve no more", () =>
    simulated(
      Effect.gen(function* () {
        const cluster = yield* Simulated.make
        const { jobs } = yield* StacksEmulator.StacksEmulator
        const before = { queues: ["q", "r"], slots: 3 }
        const members = [yield* cluster.start(before), yield* cluster.start(before)]
        const running = yield* cluster.addJobs(6, 20_000, "r")
        yield* until(Effect.sync(() => cluster.runs.length === 6))
        for (const member of members) {
          yield* cluster.start({ queues: ["q"], slots: 3 })
          yield* Effect.forkChild(member.stop)
          yield* during(Effect.sleep("2 seconds"))
        }
        const [late = ""] = yield* cluster.addJobs(1, 100, "r")
        yield* cluster.addJobs(6, 100, "q")
        yield* until(Effect.map(jobs, (all) => all.filter(({ state }) => state === "finished").length === 12))
        yield* until(Effect.sync(() => cluster.database.members.size === 2))
        assert.lengthOf(cluster.runs, 12)
        for (const { exitStatus, id, state } of yield* jobs) {
          if (running.includes(id)) assert.strictEqual(exitStatus, 0)
          if (id === late) assert.strictEqual(state, "scheduled")
        }
        assert.isNull(cluster.database.leaders.get("s--r")?.leader)
        assert.strictEqual(cluster.database.jobs.size, 0)
      })
    )
  )
})
