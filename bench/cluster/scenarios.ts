/** The scenarios that a cluster must survive, and their measurements. */
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer, Logger, Redacted, Schedule, type Scope } from "effect"
import * as Cluster from "../../test/support/cluster.ts"
import { countBy, durationOf, hasPassed, isOver } from "../../test/support/clusterFixture.ts"
import { type CuttableConnection, makeCuttableConnection } from "../../test/support/cuttableConnection.ts"
import { inFrontOf } from "../../test/support/pgbouncer.ts"
import * as Postgres from "../../test/support/postgres.ts"
import * as Redis from "../../test/support/redis.ts"
import { nameOf, type RunRecorder, requestsOfNonLeaders, stackKeyOf } from "../../test/support/runRecorder.ts"
import { crowd } from "./crowd.ts"
import { shareLimit } from "./limit.ts"
import { maxFailover, type Order, type Outcome, seconds } from "./outcome.ts"
import * as Requests from "./requests.ts"
import { single } from "./single.ts"
import { spread } from "./spread.ts"

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
  /** How many queues there are. */
  readonly queues?: number
  /** How many milliseconds data takes to the database, and back. */
  readonly latency?: () => number
  /** Whether the database is behind pgbouncer in transaction mode. */
  readonly isPooled?: boolean
}

/**
 * Three processes, and one queue or several. Every five seconds the next process is killed and restarted. The jobs of a dead process run
 * again.
 */
const killed =
  ({ happen, isOutage = false, isPooled = false, latency, queues: count = 1, withRedis = false }: Incident) =>
  ({ jobs, lockExpiration }: Order) =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const database = yield* Postgres.make
      const databaseUrl = isPooled ? yield* inFrontOf(database.url) : database.url
      const redis = yield* Redis.started
      const queues = Array.from({ length: count }, (_, n) => `q${n}`)
      const { start, recorder } = yield* Cluster.make({
        databaseUrl,
        redisUrl: withRedis ? Redacted.value(redis.url) : undefined,
        options: {
          key: "s",
          queues,
          slots: 20,
          onProcessDeath: "retry",
          reservationExpiry: "2 minutes",
          lockExpiration
        }
      })
      const collected = yield* Requests.collect
      const add = (jobs: number) =>
        emulator.addJobs(
          Array.from({ length: jobs }, (_, n) => ({ queueKey: `q${n % count}`, command: String(durationOf(n)) }))
        )
      yield* add(jobs)
      const startedAt = performance.now()
      const over = countBy(isOver)

      // Restart each process when it exits.
      const members: Array<Cluster.Member> = []
      const connections = yield* Effect.all([
        makeCuttableConnection(databaseUrl, latency),
        makeCuttableConnection(databaseUrl, latency),
        makeCuttableConnection(databaseUrl, latency)
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

      const kills: Array<{ readonly at: number; readonly name: string; readonly led: ReadonlyArray<string> }> = []
      const spared = new Set<Cluster.Member>()
      const outage = { from: Number.POSITIVE_INFINITY, to: Number.POSITIVE_INFINITY }
      yield* Effect.gen(function* () {
        yield* Effect.repeat(over, { schedule: Schedule.spaced("1 second"), until: (over) => over > 0 })
        for (let index = 0; ; index++) {
          yield* Effect.sleep("5 seconds")
          const victim = members[index % members.length]
          if (victim === undefined || spared.has(victim)) continue
          kills.push({ at: Date.now(), name: victim.name, led: victim.leading() })
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
      const failovers = kills.flatMap(({ at, led, name }) =>
        isOutage && at > outage.from - margin && at < outage.to + margin
          ? []
          : led.flatMap((stackKey) => {
              const [wait] = Requests.waits(requests, [
                {
                  at,
                  passes: (request) =>
                    request.operation === "listScheduledJobs" &&
                    nameOf(request) !== name &&
                    stackKeyOf(request) === stackKey
                }
              ])
              if (wait === undefined) return []
              const latest = kills.findLast((kill) => kill.at <= at + wait * 1000)?.at ?? at
              return [{ wait, sinceLatest: wait - (latest - at) / 1000 }]
            })
      )
      const outcome = yield* judge(requests, recorder)
      return {
        figures: {
          "jobs finished": `${total} in ${duration.toFixed(0)} s, ${(total / duration).toFixed(0)} a second`,
          kills: `${kills.length}, of a leader ${kills.filter(({ led }) => led.length > 0).length}`,
          "from a leader's death to another one's poll of the queue": seconds(failovers.map(({ wait }) => wait)),
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
  resets: staged(
    killed({
      queues: 10,
      latency: () => 10 + Math.random() * 20,
      happen: ({ connections }) =>
        Effect.forEach(connections, ({ reset }) => Effect.delay(reset, "1 second")).pipe(
          Effect.repeat({ times: 20 }),
          Effect.asVoid
        )
    })
  ),
  pooler: staged(killed({ isPooled: true, happen: () => Effect.void })),
  limit: staged(() => shareLimit),
  single: staged(single),
  spread: staged(spread),
  crowd: staged(crowd)
}
