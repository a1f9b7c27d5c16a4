/** Clusters of real processes on a real database: what is left of the work of those that die or hang. */
import { assert, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Effect } from "effect"
import * as Cluster from "../support/cluster.ts"
import {
  addJobs,
  allOver,
  areOver,
  countBy,
  faults,
  hasPassed,
  leaderOf,
  options,
  withEmulator
} from "../support/clusterFixture.ts"
import * as Postgres from "../support/postgres.ts"
import { nameOf } from "../support/runRecorder.ts"

/** What is true of a process that is killed must be of one that this machine starves. */
const again = { ...options, onProcessDeath: "retry" } as const

/** When somebody other than the former leader leads. */
const isSucceeded = (members: ReadonlyArray<Cluster.Member>, former: Cluster.Member | undefined) =>
  Cluster.until(Effect.sync(() => members.some((member) => member !== former && member.leading().length > 0)))

const theLeader = (members: ReadonlyArray<Cluster.Member>): Effect.Effect<Cluster.Member> =>
  Effect.suspend(() => {
    const leader = leaderOf(members)
    return leader === undefined ? Effect.delay(theLeader(members), "100 millis") : Effect.succeed(leader)
  })

layer(Postgres.Server.layer, { excludeTestServices: true })("A cluster of processes", (it) => {
  it.effect(
    "runs every job once and none twice at a time, though its processes are killed, the leader among them",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { createDatabase } = yield* Postgres.Server
          const { start, recorder } = yield* Cluster.make({ databaseUrl: yield* createDatabase, options: again })
          yield* addJobs(100, again)
          const members = [yield* start(), yield* start(), yield* start()]
          for (const over of [20, 50]) {
            yield* areOver(over)
            const leader = yield* theLeader(members)
            const victim = over === 20 ? leader : (members.find((member) => member !== leader) ?? leader)
            victim.kill("SIGKILL")
            yield* victim.ended
            members.splice(members.indexOf(victim), 1, yield* start())
          }
          yield* allOver
          assert.isEmpty(yield* faults)
          assert.isEmpty(recorder.overlaps)
          assert.strictEqual(recorder.begun.size, 100)
        })
      ),
    { concurrent: true }
  )

  it.effect(
    "does without a leader that is suspended, which does nothing any more when it goes on",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { createDatabase } = yield* Postgres.Server
          const emulator = yield* StacksEmulator.StacksEmulator
          const { start, recorder } = yield* Cluster.make({ databaseUrl: yield* createDatabase, options: again })
          yield* addJobs(70, again)
          const members = [yield* start(), yield* start()]
          yield* areOver(10)
          const leader = yield* theLeader(members)
          leader.kill("SIGSTOP")
          yield* isSucceeded(members, leader)
          // What the other one does not get done before the leader is let go on.
          yield* areOver((yield* countBy(hasPassed)) + 15)
          const resumedAt = Date.now()
          leader.kill("SIGCONT")
          yield* allOver
          assert.isEmpty(yield* faults)
          assert.isEmpty(recorder.overlaps)
          // It asks for nothing before it leads again.
          const asked = (yield* emulator.requests).filter(
            (request) =>
              nameOf(request) === leader.name &&
              DateTime.toEpochMillis(request.time) > resumedAt &&
              ["listScheduledJobs", "batchReserveJobs", "finishJob", "registerStack"].includes(request.operation ?? "")
          )
          assert.include([undefined, "registerStack"], asked[0]?.operation)
        })
      ),
    { concurrent: true }
  )

  it.effect(
    "leaves the agents alone of a process that was killed, and keeps to its slots",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { createDatabase } = yield* Postgres.Server
          const emulator = yield* StacksEmulator.StacksEmulator
          const few = { ...options, slots: 4 }
          const { start, recorder } = yield* Cluster.make({
            databaseUrl: yield* createDatabase,
            options: few,
            withAgents: true
          })
          yield* addJobs(16, few)
          const members = [yield* start(), yield* start()]
          const running = countBy(({ state }) => state === "running")
          yield* Cluster.until(Effect.map(running, (count) => count >= 7))
          assert.isAtMost(yield* running, 8)
          const leader = yield* theLeader(members)
          leader.kill("SIGKILL")
          yield* allOver
          // The agents of the process that was killed have finished their jobs by themselves.
          const failed = (yield* emulator.jobs).filter((job) => !hasPassed(job))
          assert.isEmpty(failed.filter(({ startedAt }) => startedAt !== undefined))
          assert.isTrue(failed.every(({ signalReason }) => signalReason === "stack_error"))
          assert.isAtMost(failed.length, 4)
          assert.isEmpty(recorder.overlaps)
        })
      ),
    { concurrent: true }
  )
})
