/** 64 members on one database. They are in one process, with connections of their own. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Effect } from "effect"
import { until } from "../../test/support/cluster.ts"
import { countBy, hasPassed, isOver } from "../../test/support/clusterFixture.ts"
import * as Members from "../../test/support/clusterMembers.ts"
import * as Postgres from "../../test/support/postgres.ts"
import { requestsOfNonLeaders } from "../../test/support/runRecorder.ts"
import { type Order, type Outcome, quantile } from "./outcome.ts"
import { usageOf } from "./usage.ts"

const members = 64
const queues = Array.from({ length: 20 }, (_, n) => `q${n}`)
const seconds = 30

export const crowd = Effect.fnUntraced(function* (_: Order) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const database = yield* Postgres.make
  const watching = usageOf(database.url)
  const { start, recorder } = yield* Members.make(database.url)
  const options = { key: "s", queues, slots: 2, lockExpiration: "15 seconds", onProcessDeath: "retry" } as const
  const all = yield* Effect.forEach(
    Array.from({ length: members }, (_, n) => n),
    () => start(options),
    { concurrency: 4 }
  ).pipe(Effect.orDie)
  yield* until(
    Effect.map(
      Effect.forEach(all, ({ status }) => status),
      (states) => states.flatMap(({ leading }) => leading).length === queues.length
    )
  )
  const before = yield* watching
  yield* Effect.sleep("10 seconds")
  const idle = yield* watching
  for (let second = 0; second < seconds; second++) {
    yield* emulator.addJobs(queues.map((queueKey) => ({ queueKey, command: "500" })))
    yield* Effect.sleep("1 second")
  }
  const busy = yield* watching
  yield* until(
    Effect.map(
      countBy((job) => !isOver(job)),
      (left) => left === 0
    )
  )
  const jobs = yield* emulator.jobs
  const scheduled = new Map(jobs.map(({ id, scheduledAt }) => [id, DateTime.toEpochMillis(scheduledAt)]))
  const waits = recorder.starts.flatMap(({ at, jobUuid }) => {
    const from = scheduled.get(jobUuid)
    return from === undefined ? [] : [(at - from) / 1000]
  })
  const led = yield* Effect.forEach(all, ({ status }) => Effect.map(status, ({ leading }) => leading.length))
  const requests = yield* emulator.requests
  const failed = jobs.filter((job) => !hasPassed(job)).length
  return {
    figures: {
      "commits a second without jobs": ((idle.commits - before.commits) / 10).toFixed(0),
      "commits a second with 20 jobs a second": ((busy.commits - idle.commits) / seconds).toFixed(0),
      connections: busy.connections,
      "from when a job was added to its start": `p50 ${quantile(waits, 0.5).toFixed(1)} s, p99 ${quantile(waits, 0.99).toFixed(1)} s, of ${waits.length}`,
      "most queues of one member": Math.max(...led)
    },
    problems: [
      ...(failed > 0 ? [`${failed} jobs failed`] : []),
      ...recorder.overlaps,
      ...requestsOfNonLeaders(requests),
      ...requests.flatMap(({ operation, status }) => (status === 429 ? [`${operation} was answered 429`] : []))
    ]
  } satisfies Outcome
})
