/** What tests of clusters share: a database, an emulator with jobs in its queues, and a cluster without members. */
import { it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Effect, type Scope } from "effect"
import * as Cluster from "./cluster.ts"
import * as Postgres from "./postgres.ts"

export const options: Omit<ClusterStack.Options, "port"> = {
  key: "s",
  queues: ["q"],
  slots: 20,
  shutdownGrace: "5 seconds",
  reservationExpiry: "2 minutes"
}

export const countBy = Effect.fnUntraced(function* (isCounted: (job: StacksEmulator.Job) => boolean) {
  const emulator = yield* StacksEmulator.StacksEmulator
  return (yield* emulator.jobs).filter(isCounted).length
})

export const isOver = ({ state }: StacksEmulator.Job) => state === "finished"
export const hasPassed = ({ exitStatus }: StacksEmulator.Job) => exitStatus === 0

/** A database, an emulator with jobs in its queue, and a cluster without members. */
export const scene = Effect.fnUntraced(function* (count: number, settings: Partial<Cluster.ClusterOptions> = {}) {
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

export const leaderOf = (members: ReadonlyArray<Cluster.Member>) =>
  members.find((member) => member.leading().length > 0)

export const live = <E>(name: string, test: Effect.Effect<void, E, StacksEmulator.StacksEmulator | Scope.Scope>) =>
  it.live(name, () => test.pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer())), 120_000)

/** No process of these tests hangs: one that is starved for a while must not be taken for one that does. */
export const patient = { ...options, lockExpiration: "30 seconds" } as const
