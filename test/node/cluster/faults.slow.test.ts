/** A cluster whose statements fail one by one: done or not, told or not, or done much later. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Storage } from "../../../packages/node/src/internal/cluster/storage.ts"
import type { Fault, Faults } from "../../support/clusterStorage.ts"
import * as Simulated from "../../support/simulatedCluster.ts"

const { during, simulated, until } = Simulated

const operations: ReadonlyArray<keyof Storage> = [
  "heartbeat",
  "giveBack",
  "snapshot",
  "take",
  "resign",
  "load",
  "save",
  "remove",
  "offer",
  "ended",
  "claim",
  "end",
  "deleteExpired",
  "leave",
  "notify"
]

/** The nth statement of this name, of all processes, and those that follow it up to `count`. */
const failing = (operation: keyof Storage, first: number, count: number, fault: Fault): Faults => {
  let seen = 0
  return {
    latency: () => 3,
    next: (name) => {
      if (name !== operation) return undefined
      seen++
      return seen >= first && seen < first + count ? fault : undefined
    }
  }
}

const jobs = 16

/** Jobs, three processes, of which one leaves in the middle and one is killed. */
const scenario = (faults: Faults, isKilled: boolean) =>
  simulated(
    Effect.gen(function* () {
      const cluster = yield* Simulated.make
      yield* cluster.addJobs(jobs, (index) => 100 + ((index * 37) % 900))
      const one = { slots: 4, faults }
      const members = [yield* cluster.start(one), yield* cluster.start(one), yield* cluster.start(one)]
      yield* until(cluster.areOver(4))
      yield* during(members[0]?.stop ?? Effect.void)
      if (isKilled) members[1]?.kill()
      yield* until(cluster.allOver)
      assert.isEmpty(yield* cluster.violations)
      // Nothing but the death of its process makes a job run again.
      if (!isKilled) assert.lengthOf(cluster.runs, jobs)
      yield* until(Effect.sync(() => cluster.database.jobs.size === 0))
    })
  )

describe("A cluster loses no job, and runs none twice, though", () => {
  for (const fault of ["notDone", "notTold", "late"] as const) {
    const what = { notDone: "is not done", notTold: "is done and not told", late: "is done much later" }[fault]
    for (const operation of operations) {
      it.effect(`the statement ${operation} ${what}`, () =>
        Effect.gen(function* () {
          yield* scenario(failing(operation, 2, 1, fault), false)
          yield* scenario(failing(operation, 3, 2, fault), true)
        })
      )
    }
  }
})
