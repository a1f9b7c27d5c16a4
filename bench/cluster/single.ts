/** A leader that is killed, or stopped, one at a time, and what a job costs while nothing happens. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Effect } from "effect"
import * as Cluster from "../../test/support/cluster.ts"
import { countBy, hasPassed, isOver } from "../../test/support/clusterFixture.ts"
import * as Postgres from "../../test/support/postgres.ts"
import { nameOf, requestsOfNonLeaders } from "../../test/support/runRecorder.ts"
import { type Order, type Outcome, quantile, seconds } from "./outcome.ts"
import * as Requests from "./requests.ts"
import { usageOf } from "./usage.ts"

const kills = 6
const stops = 5
/** How long nothing happens at first, in seconds. */
const calm = 20

/** From the requests to reserve a job to its start, in milliseconds. */
const dispatchTimes = (
  requests: ReadonlyArray<StacksEmulator.LoggedRequest>,
  starts: ReadonlyArray<{ readonly at: number; readonly jobUuid: string }>
): ReadonlyArray<number> => {
  const reserved = new Map<string, number>()
  for (const { body, operation, status, time } of requests) {
    if (operation !== "batchReserveJobs" || status !== 200) continue
    if (typeof body !== "object" || body === null || !("job_uuids" in body) || !Array.isArray(body.job_uuids)) continue
    for (const id of body.job_uuids) if (!reserved.has(id)) reserved.set(id, DateTime.toEpochMillis(time))
  }
  return starts.flatMap(({ at, jobUuid }) => {
    const from = reserved.get(jobUuid)
    return from === undefined ? [] : [at - from]
  })
}

export const single = Effect.fnUntraced(function* ({ lockExpiration }: Order) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const database = yield* Postgres.make
  const { start, recorder } = yield* Cluster.make({
    databaseUrl: database.url,
    options: { key: "s", queues: ["q"], slots: 20, lockExpiration, onProcessDeath: "retry" }
  })
  const usage = usageOf(database.url)
  const collected = yield* Requests.collect
  const members = [yield* start(), yield* start(), yield* start()]
  const leader = Effect.suspend(() => Effect.succeed(members.findIndex((member) => member.leading().length > 0)))
  const isLed = Effect.map(leader, (index) => index >= 0)
  yield* Cluster.until(isLed)
  yield* emulator
    .addJobs(Array.from({ length: 5 }, () => ({ queueKey: "q", command: "200" })))
    .pipe(Effect.delay("200 millis"), Effect.forever, Effect.forkScoped)
  yield* Effect.sleep("3 seconds")
  const over = countBy(isOver)
  const [before, finished] = [yield* usage, yield* over]
  const calmFrom = Date.now()
  yield* Effect.sleep(`${calm} seconds`)
  const [after, now] = [yield* usage, yield* over]
  const calmTo = Date.now()

  const events: Array<{ readonly at: number; readonly name: string; readonly signal: NodeJS.Signals }> = []
  for (let index = 0; index < kills + stops; index++) {
    yield* Cluster.until(isLed)
    const led = yield* leader
    const member = members[led]
    if (member === undefined) continue
    const signal = index < kills ? "SIGKILL" : "SIGTERM"
    events.push({ at: Date.now(), name: member.name, signal })
    member.kill(signal)
    yield* member.ended
    members[led] = yield* start()
    yield* Effect.sleep("10 seconds")
  }
  const requests = yield* collected
  const starts = recorder.starts.filter(({ at }) => at >= calmFrom && at < calmTo)
  const waitsAfter = (signal: NodeJS.Signals) =>
    events.flatMap(({ at, name, signal: sent }) =>
      sent === signal
        ? Requests.waits(requests, [
            { at, passes: (request) => request.operation === "listScheduledJobs" && nameOf(request) !== name }
          ])
        : []
    )
  const pausesAfter = (signal: NodeJS.Signals) =>
    events.flatMap(({ at, signal: sent }) =>
      sent === signal
        ? [
            Requests.longestGap(
              recorder.starts.map((run) => run.at).filter((time) => time > at - 1000 && time < at + 10_000)
            )
          ]
        : []
    )
  const dispatched = dispatchTimes(requests, starts)
  const refused = requests.filter(({ status }) => status === 429).length
  const failed = yield* countBy((job) => isOver(job) && !hasPassed(job))
  return {
    figures: {
      "jobs a second": ((now - finished) / calm).toFixed(1),
      "from the request that reserves a job to its start": `p50 ${quantile(dispatched, 0.5)} ms, p99 ${quantile(dispatched, 0.99)} ms, of ${dispatched.length}`,
      "commits for each job, those of heartbeats and polls too": (
        (after.commits - before.commits) /
        (now - finished)
      ).toFixed(1),
      "connections of three processes": after.connections,
      "from a leader's SIGKILL to the next one's poll": seconds(waitsAfter("SIGKILL")),
      "longest pause between starts around it": seconds(pausesAfter("SIGKILL")),
      "from a leader's SIGTERM to the next one's poll": seconds(waitsAfter("SIGTERM")),
      "longest pause between starts around that": seconds(pausesAfter("SIGTERM"))
    },
    problems: [
      ...(failed > 0 ? [`${failed} jobs failed`] : []),
      ...(refused > 0 ? [`${refused} requests were answered 429`] : []),
      ...recorder.overlaps,
      ...requestsOfNonLeaders(requests)
    ]
  } satisfies Outcome
})
