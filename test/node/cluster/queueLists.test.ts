/** Processes of a cluster that list different queues. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Simulated from "../../support/simulatedCluster.ts"

const { during, simulated } = Simulated

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
