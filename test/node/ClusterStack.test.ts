/** Clusters of real processes on a real database: what they do when processes die, hang and leave. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Effect, type Scope } from "effect"
import * as Cluster from "../support/cluster.ts"
import * as Postgres from "../support/postgres.ts"

const options: Omit<ClusterStack.Options, "port"> = {
  key: "s",
  queues: ["q"],
  slots: 20,
  shutdownGrace: "5 seconds",
  reservationExpiry: "2 minutes"
}

const countBy = Effect.fnUntraced(function* (isCounted: (job: StacksEmulator.Job) => boolean) {
  const emulator = yield* StacksEmulator.StacksEmulator
  return (yield* emulator.jobs).filter(isCounted).length
})

const isOver = ({ state }: StacksEmulator.Job) => state === "finished"
const hasPassed = ({ exitStatus }: StacksEmulator.Job) => exitStatus === 0

/** A database, an emulator with jobs in its queue, and a cluster without members. */
const scene = Effect.fnUntraced(function* (count: number, settings: Partial<Cluster.ClusterOptions> = {}) {
  const database = yield* Postgres.make
  const emulator = yield* StacksEmulator.StacksEmulator
  const cluster = yield* Cluster.make({ databaseUrl: database.url, options, ...settings })
  const queues = (settings.options ?? options).queues.map((queue) =>
    typeof queue === "string" ? queue : queue.queueKey
  )
  yield* emulator.addJobs(Array.from({ length: count }, (_, i) => ({ queueKey: queues[i % queues.length] ?? "q" })))
  const allOver = Cluster.until(Effect.map(countBy(isOver), (over) => over === count))
  const areOver = (n: number) => Cluster.until(Effect.map(countBy(isOver), (over) => over >= n))
  const refusals = Effect.map(emulator.requests, (requests) => requests.filter(({ status }) => status === 429).length)
  const finishes = Effect.map(
    emulator.requests,
    (requests) => requests.filter(({ operation, status }) => operation === "finishJob" && status === 200).length
  )
  return { ...cluster, database, emulator, allOver, areOver, refusals, finishes }
})

const leaderOf = (members: ReadonlyArray<Cluster.Member>) => members.find((member) => member.leading().length > 0)

const live = <E>(name: string, test: Effect.Effect<void, E, StacksEmulator.StacksEmulator | Scope.Scope>) =>
  it.live(name, () => test.pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer())), 120_000)

/** No process of these tests hangs: one that is starved for a while must not be taken for one that does. */
const patient = { ...options, lockExpiration: "30 seconds" } as const

describe("A cluster of three processes", () => {
  live(
    "runs every job once and none twice at a time, though its processes are killed, the leader among them",
    Effect.gen(function* () {
      const { allOver, areOver, begun, finishes, mistakes, refusals, start } = yield* scene(600, {
        options: { ...patient, onProcessDeath: "runAgain" }
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
