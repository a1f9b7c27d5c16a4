/** The scenarios that a cluster must survive, and their measurements. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { type Duration, Effect, Layer, Logger, Redacted, Schedule, type Scope } from "effect"
import * as Cluster from "../../test/support/cluster.ts"
import { countBy, durationOf, hasPassed, isOver } from "../../test/support/clusterFixture.ts"
import { type CuttableConnection, makeCuttableConnection } from "../../test/support/cuttableConnection.ts"
import * as Postgres from "../../test/support/postgres.ts"
import * as Redis from "../../test/support/redis.ts"
import { nameOf, type RunRecorder, requestsOfNonLeaders, stackKeyOf } from "../../test/support/runRecorder.ts"
import { shareLimit } from "./limit.ts"
import * as Requests from "./requests.ts"

export interface Order {
  readonly jobs: number
  readonly lockExpiration: Duration.Input
}

export interface Outcome {
  readonly figures: Readonly<Record<string, string | number>>
  readonly problems: ReadonlyArray<string>
}

const seconds = (values: ReadonlyArray<number>): string => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]?.toFixed(1) ?? "-"
  return `p50 ${at(0.5)} s, max ${at(1)} s, of ${sorted.length}`
}

const maxFailover = 10

// -----------------------------------------------------------------------------
// Three processes that are killed
// -----------------------------------------------------------------------------

interface Stage {
  readonly database: Postgres.Postgres
  readonly redis: Redis.RedisServer
  readonly members: ReadonlyArray<Cluster.Member>
  /** The network between each process and the database. */
  readonly connections: ReadonlyArray<CuttableConnection>
  /** A process that is not killed. */
  readonly spared: Set<Cluster.Member>
}

interface Incident {
  /** Starts when a fifth of the jobs is over. There are always jobs left until it ends. */
  readonly happen: (stage: Stage) => Effect.Effect<void>
  /** Whether it prevents takeovers. */
  readonly isOutage?: boolean
  readonly withRedis?: boolean
}

/**
 * Three processes and one queue. Every five seconds the next process is killed and restarted. The jobs of a dead process run
 * again.
 */
const killed =
  ({ happen, isOutage = false, withRedis = false }: Incident) =>
  ({ jobs, lockExpiration }: Order) =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const database = yield* Postgres.make
      const redis = yield* Redis.started
      const { start, recorder } = yield* Cluster.make({
        databaseUrl: database.url,
        redisUrl: withRedis ? Redacted.value(redis.url) : undefined,
        options: {
          key: "s",
          queues: ["q"],
          slots: 20,
          onProcessDeath: "retry",
          reservationExpiry: "2 minutes",
          lockExpiration
        }
      })
      const collected = yield* Requests.collect
      const add = (count: number) =>
        emulator.addJobs(Array.from({ length: count }, (_, n) => ({ queueKey: "q", command: String(durationOf(n)) })))
      yield* add(jobs)
      const startedAt = performance.now()
      const over = countBy(isOver)

      // Restart each process when it exits.
      const members: Array<Cluster.Member> = []
      const connections = yield* Effect.all([
        makeCuttableConnection(database.url),
        makeCuttableConnection(database.url),
        makeCuttableConnection(database.url)
      ])
      for (const [index, line] of connections.entries()) {
        const member = yield* start({ databaseUrl: line.url })
        members.push(member)
        yield* Effect.gen(function* () {
          yield* members[index]?.ended ?? Effect.void
          yield* Effect.sleep("500 millis")
          members[index] = yield* start({ databaseUrl: line.url })
        }).pipe(Effect.forever, Effect.forkScoped)
      }

      const kills: Array<{ readonly at: number; readonly name: string; readonly led: boolean }> = []
      const spared = new Set<Cluster.Member>()
      const outage = { from: Number.POSITIVE_INFINITY, to: Number.POSITIVE_INFINITY }
      yield* Effect.gen(function* () {
        yield* Effect.repeat(over, { schedule: Schedule.spaced("1 second"), until: (over) => over > 0 })
        for (let index = 0; ; index++) {
          yield* Effect.sleep("5 seconds")
          const victim = members[index % members.length]
          if (victim === undefined || spared.has(victim)) continue
          kills.push({ at: Date.now(), name: victim.name, led: victim.leading().length > 0 })
          victim.kill("SIGKILL")
        }
      }).pipe(Effect.forkScoped)
      const incident = yield* Effect.gen(function* () {
        yield* Effect.repeat(over, { schedule: Schedule.spaced("1 second"), until: (over) => over >= jobs / 5 })
        outage.from = Date.now()
        yield* happen({ database, redis, members, connections, spared })
        outage.to = Date.now()
      }).pipe(Effect.forkScoped)
      const left = countBy((job) => !isOver(job))
      yield* Effect.gen(function* () {
        if ((yield* left) < 500) yield* add(500)
        yield* Effect.sleep("1 second")
      }).pipe(Effect.repeat({ while: () => incident.pollUnsafe() === undefined }))
      yield* Effect.repeat(left, { schedule: Schedule.spaced("1 second"), until: (left) => left === 0 })
      const duration = (performance.now() - startedAt) / 1000
      const total = yield* over
      yield* Effect.sleep("1 second")
      const requests = yield* collected

      // The successor may be killed meanwhile.
      const margin = maxFailover * 2 * 1000
      const failovers = kills.flatMap(({ at, led, name }) => {
        if (!led || (isOutage && at > outage.from - margin && at < outage.to + margin)) return []
        const [wait] = Requests.waits(requests, [
          { at, passes: (request) => request.operation === "listScheduledJobs" && nameOf(request) !== name }
        ])
        if (wait === undefined) return []
        const latest = kills.findLast((kill) => kill.at <= at + wait * 1000)?.at ?? at
        return [{ wait, sinceLatest: wait - (latest - at) / 1000 }]
      })
      const outcome = yield* judge(requests, recorder)
      return {
        figures: {
          "jobs finished": `${total} in ${duration.toFixed(0)} s, ${(total / duration).toFixed(0)} a second`,
          kills: `${kills.length}, of the leader ${kills.filter(({ led }) => led).length}`,
          "from the leader's death to another one's poll": seconds(failovers.map(({ wait }) => wait)),
          "the same, from the last death before that poll": seconds(failovers.map(({ sinceLatest }) => sinceLatest)),
          ...outcome.figures
        },
        problems: [
          ...outcome.problems,
          ...failovers
            .filter(({ sinceLatest }) => sinceLatest > maxFailover)
            .map(({ sinceLatest }) => `there was no poll for ${sinceLatest.toFixed(1)} s after a death`)
        ]
      }
    })

const judge = Effect.fnUntraced(function* (
  requests: ReadonlyArray<StacksEmulator.LoggedRequest>,
  recorder: RunRecorder
): Effect.fn.Return<Outcome, never, StacksEmulator.StacksEmulator> {
  const emulator = yield* StacksEmulator.StacksEmulator
  const all = yield* emulator.jobs
  const finishes = new Map<string, number>()
  const finished = requests.filter(({ operation, status }) => operation === "finishJob" && status === 200)
  for (const { path } of finished) finishes.set(path, (finishes.get(path) ?? 0) + 1)
  const refused = requests.filter(({ status }) => status === 429)
  const late = requests.filter(({ operation, status }) => operation === "finishJob" && status === 422)
  return {
    figures: {
      "jobs that ran again": Array.from(recorder.begun.values()).filter((count) => count > 1).length,
      "answers 429": refused.length,
      "jobs that were told finished a second time, and the service refused": late.length
    },
    problems: [
      ...all
        .filter((job) => !hasPassed(job))
        .map(({ detail, exitStatus, id, state }) => `${id} is ${state} with ${exitStatus}: ${detail}`),
      ...(finished.length === all.length ? [] : [`${finished.length} of ${all.length} jobs were finished`]),
      ...Array.from(finishes)
        .filter(([, count]) => count > 1)
        .map(([path, count]) => `${path} took effect ${count} times`),
      ...refused.map((request) => `${request.operation} of ${nameOf(request)} was answered 429`),
      ...recorder.overlaps,
      ...requestsOfNonLeaders(requests)
    ]
  }
})

/** Waits for a leader, and returns it. */
const theLeader = (members: ReadonlyArray<Cluster.Member>): Effect.Effect<{ member: Cluster.Member; index: number }> =>
  Effect.suspend(() => {
    const index = members.findIndex((member) => member.leading().length > 0)
    const member = members[index]
    return member === undefined ? Effect.delay(theLeader(members), "100 millis") : Effect.succeed({ member, index })
  })

/** Runs for a minute without kills. */
const meanwhileSpared = (
  { members, spared }: Stage,
  begin: (leader: Cluster.Member, index: number) => Effect.Effect<void>,
  end: (leader: Cluster.Member, index: number) => Effect.Effect<void>
) =>
  Effect.gen(function* () {
    const { index, member } = yield* theLeader(members)
    spared.add(member)
    yield* begin(member, index)
    yield* Effect.sleep("60 seconds")
    yield* end(member, index)
    yield* Effect.sleep("15 seconds")
    spared.delete(member)
  })

// -----------------------------------------------------------------------------
// Twenty queues
// -----------------------------------------------------------------------------

/** Each queue gets jobs all the time, while one process joins, one leaves, and one is killed. */
const spread = ({ lockExpiration }: Order) =>
  Effect.gen(function* () {
    const emulator = yield* StacksEmulator.StacksEmulator
    const database = yield* Postgres.make
    const queues = Array.from({ length: 20 }, (_, n) => `q${n}`)
    const { start, recorder } = yield* Cluster.make({
      databaseUrl: database.url,
      options: { key: "s", queues, slots: 20, lockExpiration, onProcessDeath: "retry" }
    })
    const collected = yield* Requests.collect
    yield* emulator
      .addJobs(queues.map((queueKey) => ({ queueKey, command: "500" })))
      .pipe(Effect.delay("1 second"), Effect.forever, Effect.forkScoped)
    const members = [yield* start(), yield* start(), yield* start()]
    const counts = () => members.map((member) => member.leading().length)
    const isWhole = Effect.sync(
      () =>
        new Set(members.flatMap((member) => member.leading())).size === queues.length &&
        counts().reduce((sum, count) => sum + count, 0) === queues.length
    )
    const figures: Record<string, string> = {}
    const problems: Array<string> = []
    const gapsSince = Effect.fnUntraced(function* (from: number) {
      const requests = (yield* collected).filter(({ operation }) => operation === "listScheduledJobs")
      const byQueue = new Map((yield* emulator.jobs).map(({ id, queueKey }) => [id, queueKey]))
      const now = Date.now()
      return queues.map((queueKey) => {
        const polls = Requests.timesOf(requests, (request) => stackKeyOf(request) === `s--${queueKey}`)
        const starts = recorder.starts.flatMap(({ at, jobUuid }) => (byQueue.get(jobUuid) === queueKey ? [at] : []))
        const gap = (times: ReadonlyArray<number>) =>
          Requests.longestGap([from, ...times.filter((time) => time > from), now])
        return { polls: gap(polls), starts: gap(starts) }
      })
    })
    const watch = Effect.fnUntraced(function* (what: string, act: Effect.Effect<void, never, Scope.Scope>) {
      const from = Date.now()
      yield* act
      yield* Effect.sleep("20 seconds")
      yield* Cluster.until(isWhole)
      const gaps = yield* gapsSince(from)
      const longest = {
        polls: Math.max(...gaps.map(({ polls }) => polls)),
        starts: Math.max(...gaps.map(({ starts }) => starts))
      }
      figures[what] =
        `queues by process ${counts().join(", ")}; longest pause of a queue: ` +
        `${longest.polls.toFixed(1)} s between polls, ${longest.starts.toFixed(1)} s between starts of jobs`
      for (const [kind, gap] of Object.entries(longest)) {
        if (gap > maxFailover) problems.push(`${what}: a queue's ${kind} paused for ${gap.toFixed(1)} s`)
      }
      const [least = 0, most = 0] = [Math.min(...counts()), Math.max(...counts())]
      if (most - least > 4) problems.push(`${what}: one process leads ${most} queues and another one ${least}`)
    })
    yield* Cluster.until(isWhole)
    yield* watch("three processes", Effect.void)
    yield* watch(
      "a fourth one joins",
      Effect.map(start(), (member) => void members.push(member))
    )
    yield* watch(
      "one is stopped",
      Effect.suspend(() => {
        const [leaving] = members.splice(0, 1)
        leaving?.kill("SIGTERM")
        return Effect.void
      })
    )
    yield* watch(
      "one is killed",
      Effect.suspend(() => {
        const [victim] = members.splice(0, 1)
        victim?.kill("SIGKILL")
        return Effect.void
      })
    )
    const requests = yield* collected
    const refused = requests.filter(({ status }) => status === 429)
    figures["answers 429"] = String(refused.length)
    return {
      figures,
      problems: [
        ...problems,
        ...refused.map((request) => `${request.operation} of ${nameOf(request)} was answered 429`),
        ...recorder.overlaps,
        ...requestsOfNonLeaders(requests)
      ]
    }
  })

// -----------------------------------------------------------------------------
// All of them
// -----------------------------------------------------------------------------

const staged =
  (scenario: (order: Order) => Effect.Effect<Outcome, never, StacksEmulator.StacksEmulator | Scope.Scope>) =>
  (order: Order): Effect.Effect<Outcome> =>
    scenario(order).pipe(
      Effect.scoped,
      Effect.provide(Layer.mergeAll(Layer.orDie(NodeStacksEmulator.layer({ page: false })), Logger.layer([])))
    )

export const scenarios: Readonly<Record<string, (order: Order) => Effect.Effect<Outcome>>> = {
  kill: staged(killed({ happen: () => Effect.void })),
  redis: staged(
    killed({
      withRedis: true,
      happen: ({ redis }) => Effect.andThen(redis.stop, Effect.delay(redis.start, "15 seconds"))
    })
  ),
  postgres: staged(
    killed({
      isOutage: true,
      happen: ({ database }) => Effect.andThen(database.stop, Effect.delay(database.start, "30 seconds"))
    })
  ),
  suspend: staged(
    killed({
      happen: (stage) =>
        meanwhileSpared(
          stage,
          (leader) => Effect.sync(() => leader.kill("SIGSTOP")),
          (leader) => Effect.sync(() => leader.kill("SIGCONT"))
        )
    })
  ),
  partition: staged(
    killed({
      happen: (stage) =>
        meanwhileSpared(
          stage,
          (_, index) => stage.connections[index]?.cut ?? Effect.void,
          (_, index) => stage.connections[index]?.restore ?? Effect.void
        )
    })
  ),
  limit: staged(() => shareLimit),
  spread: staged(spread)
}
