/** Clusters of real processes on a real database: what is left of the work of processes that die or hang. */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import * as Cluster from "../support/cluster.ts"
import { countBy, hasPassed, isOver, leaderOf, live, options, scene } from "../support/clusterScene.ts"

describe("A cluster of three processes", () => {
  live(
    "runs every job once and none twice at a time, though its processes are killed, the leader among them",
    Effect.gen(function* () {
      const { allOver, areOver, begun, finishes, mistakes, refusals, start } = yield* scene(600, {
        options: { ...options, lockExpiration: "10 seconds", onProcessDeath: "runAgain" }
      })
      const members = [yield* start, yield* start, yield* start]
      for (const over of [100, 200, 300]) {
        yield* areOver(over)
        const victim = over === 200 ? members.find((member) => member.leading().length === 0) : leaderOf(members)
        if (victim === undefined) continue
        victim.kill("SIGKILL")
        yield* victim.ended
        members.splice(members.indexOf(victim), 1, yield* start)
      }
      yield* allOver
      assert.isEmpty(mistakes)
      assert.strictEqual(yield* countBy(hasPassed), 600)
      assert.strictEqual(begun.size, 600)
      assert.strictEqual(yield* finishes, 600)
      assert.strictEqual(yield* refusals, 0)
    })
  )

  live(
    "lets another lead when its leader is suspended, which does nothing any more when it goes on",
    Effect.gen(function* () {
      const { allOver, areOver, emulator, finishes, mistakes, refusals, start } = yield* scene(500)
      const members = [yield* start, yield* start, yield* start]
      yield* areOver(150)
      const leader = leaderOf(members)
      assert.isDefined(leader)
      leader?.kill("SIGSTOP")
      // Its jobs have failed by then, and somebody else leads.
      yield* Cluster.until(
        Effect.sync(() => members.some((member) => member !== leader && member.leading().length > 0))
      )
      const over = yield* countBy(isOver)
      yield* areOver(over + 100)
      leader?.kill("SIGCONT")
      yield* allOver
      assert.isEmpty(mistakes)
      // Nothing was refused: nobody finished what somebody else had finished.
      assert.strictEqual(yield* finishes, 500)
      const refused = (yield* emulator.requests).filter(({ status }) => status !== undefined && status >= 400)
      assert.isEmpty(refused.map(({ operation, status }) => `${operation} ${status}`))
      assert.strictEqual(yield* refusals, 0)
      // What the suspended process had begun has failed, and nothing else.
      assert.isAtLeast(yield* countBy(hasPassed), 500 - 20)
      assert.isTrue(
        (yield* emulator.jobs).every(
          (job) => hasPassed(job) || (job.exitStatus === -1 && job.signalReason === "stack_error")
        )
      )
    })
  )

  live(
    "leaves the agents alone of a process that was killed, and keeps to its slots",
    Effect.gen(function* () {
      const { allOver, areOver, begun, emulator, finishes, mistakes, start } = yield* scene(40, {
        options: { ...options, slots: 4, lockExpiration: "10 seconds" },
        withAgents: true
      })
      const members = [yield* start, yield* start, yield* start]
      const running = countBy(({ state }) => state === "running")
      yield* Cluster.until(Effect.map(running, (count) => count >= 10))
      assert.isAtMost(yield* running, 12)
      const leader = leaderOf(members)
      leader?.kill("SIGKILL")
      yield* areOver(1)
      yield* allOver
      // The agents of the process that was killed have finished their jobs by themselves.
      const failed = (yield* emulator.jobs).filter((job) => !hasPassed(job))
      assert.isEmpty(failed.filter(({ startedAt }) => startedAt !== undefined))
      assert.strictEqual(failed.length, yield* finishes)
      assert.isAtMost(failed.length, 4)
      assert.isEmpty(mistakes)
      assert.strictEqual(begun.size, 40)
    })
  )
})
