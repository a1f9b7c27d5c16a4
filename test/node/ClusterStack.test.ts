/** Clusters of real processes on a real database: what they do when processes come and leave, and when the database does. */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import * as Cluster from "../support/cluster.ts"
import { countBy, hasPassed, live, options, patient, scene } from "../support/clusterScene.ts"

describe("A cluster of three processes", () => {
  live(
    "goes on by itself when its database comes back, and runs nothing twice at a time",
    Effect.gen(function* () {
      const { allOver, areOver, database, finishes, mistakes, refusals, start } = yield* scene(600, {
        options: { ...options, onProcessDeath: "runAgain" }
      })
      yield* start
      yield* start
      yield* start
      yield* areOver(150)
      yield* database.stop
      yield* Effect.sleep("8 seconds")
      yield* database.start
      yield* allOver
      assert.isEmpty(mistakes)
      assert.strictEqual(yield* countBy(hasPassed), 600)
      assert.strictEqual(yield* finishes, 600)
      assert.strictEqual(yield* refusals, 0)
    })
  )

  live(
    "fails no job when it is restarted process by process",
    Effect.gen(function* () {
      const { allOver, areOver, begun, emulator, mistakes, start } = yield* scene(300, { options: patient })
      const members = [yield* start, yield* start, yield* start]
      for (const [index, over] of [50, 120, 190].entries()) {
        yield* areOver(over)
        const successor = yield* start
        members[index]?.kill("SIGTERM")
        yield* members[index]?.ended ?? Effect.void
        members[index] = successor
      }
      yield* allOver
      assert.isEmpty(mistakes)
      const failures = (yield* emulator.jobs).flatMap((job) => (hasPassed(job) ? [] : [job.detail]))
      assert.isEmpty(failures)
      assert.deepStrictEqual(new Set(begun.values()), new Set([1]))
    })
  )

  live(
    "spreads twenty queues, and takes over those of a process that leaves",
    Effect.gen(function* () {
      const queues = Array.from({ length: 20 }, (_, i) => `q${i}`)
      const { allOver, areOver, mistakes, refusals, start } = yield* scene(300, { options: { ...patient, queues } })
      const members = [yield* start, yield* start, yield* start]
      const led = () => members.flatMap((member) => member.leading())
      yield* Cluster.until(
        Effect.sync(() => new Set(led()).size === 20 && members.every((member) => member.leading().length >= 2))
      )
      members[0]?.kill("SIGTERM")
      yield* Cluster.until(
        Effect.sync(() => new Set(members.slice(1).flatMap((member) => member.leading())).size === 20)
      )
      yield* areOver(1)
      yield* allOver
      assert.isEmpty(mistakes)
      assert.strictEqual(yield* countBy(hasPassed), 300)
      assert.strictEqual(yield* refusals, 0)
    })
  )
})
