/** The fixture of cluster tests: a database, an emulator with jobs in its queues, and a cluster without members. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Effect, References, type Scope } from "effect"
import * as Cluster from "./cluster.ts"
import type * as Postgres from "./postgres.ts"
import { requestsOfNonLeaders } from "./runRecorder.ts"

export type Options = ClusterStack.Options

export const options: Options = { key: "s", queues: ["q"], slots: 10, reservationExpiry: "2 minutes" }

export const countBy = Effect.fnUntraced(function* (isCounted: (job: StacksEmulator.Job) => boolean) {
  const emulator = yield* StacksEmulator.StacksEmulator
  return (yield* emulator.jobs).filter(isCounted).length
})

export const isOver = ({ state }: StacksEmulator.Job) => state === "finished"
export const hasPassed = ({ exitStatus }: StacksEmulator.Job) => exitStatus === 0

export const allOver = Cluster.until(
  Effect.map(
    countBy((job) => !isOver(job)),
    (left) => left === 0
  )
)
export const areOver = (count: number) => Cluster.until(Effect.map(countBy(isOver), (over) => over >= count))

/** Most jobs are short, and some are not: how many milliseconds the nth one takes. */
export const durationOf = (n: number): number => (n % 20 === 19 ? 2000 : 100 + ((n * 37) % 250))

/** Adds jobs to the queues by turns. Their commands say how long they take. */
export const addJobs = Effect.fnUntraced(function* (count: number, { queues }: Options, duration = durationOf) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const keys = queues.map((queue) => (typeof queue === "string" ? queue : queue.queueKey))
  return yield* emulator.addJobs(
    Array.from({ length: count }, (_, n) => ({
      queueKey: keys[n % keys.length] ?? "",
      command: String(duration(n))
    }))
  )
})

/** Violations: jobs that did not pass, jobs that were not finished exactly once, 429s, and requests of processes that did not lead the queue. */
export const faults = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const jobs = yield* emulator.jobs
  const requests = yield* emulator.requests
  const finished = requests.filter(({ operation, status }) => operation === "finishJob" && status === 200)
  return [
    ...jobs.flatMap((job) => (hasPassed(job) ? [] : [`${job.id} is ${job.state}: ${job.detail}`])),
    ...jobs.flatMap(({ id }) => {
      const count = finished.filter(({ path }) => path.includes(id)).length
      return count === 1 ? [] : [`${id} was finished ${count} times`]
    }),
    ...requestsOfNonLeaders(requests),
    ...requests.flatMap(({ operation, status }) => (status === 429 ? [`${operation} was answered 429`] : []))
  ]
})

export const leaderOf = (members: ReadonlyArray<Cluster.Member>) =>
  members.find((member) => member.leading().length > 0)

/** Provides a test with an emulator. */
export const withEmulator = <E>(
  test: Effect.Effect<void, E, StacksEmulator.StacksEmulator | Postgres.Server | Scope.Scope>,
  options: NodeStacksEmulator.Options = {}
) =>
  Effect.scoped(test).pipe(
    Effect.provide(NodeStacksEmulator.layer({ page: false, ...options })),
    Effect.provideService(References.MinimumLogLevel, "Error")
  )
