/**
 * One stack on many machines: any number of identical processes, each with slots of its own, that share the work of some queues
 * and take over from each other.
 *
 * **When to use**
 *
 * When one machine is too small, or must not be a single point of failure. A single process needs none of this: `Stack.run`.
 *
 * **Details**
 *
 * The processes find each other in a PostgreSQL database (14 or later), by Effect's cluster. For each queue exactly one of them
 * polls, reserves, renews and finishes; each job runs on exactly one of them, in one of its slots. What becomes of the jobs of a
 * process that died:
 *
 * - those that it had not started are started by another one;
 * - those that an agent has acquired are left to their agents: one that lives elsewhere, on a machine or in a container of its
 *   own, goes on; those of `AgentRunner` on the same machine are stopped by its reaper, as it says there;
 * - the others are finished with -1 and `stack_error`, or run again: see `onProcessDeath`.
 *
 * Another process polls within `lockExpiration` and some seconds: 10 by default. A process that loses the database, or was
 * suspended, stops what it does, but leaves the agents alone that have acquired their jobs. To stop takes its time: what runs
 * gets the grace of its runner, and may overlap for so long with what another process has begun.
 *
 * **Gotchas**
 *
 * The processes talk to each other over TCP, without encryption or authentication: use a network where nobody else can reach
 * their ports. This module needs the package `@effect/sql-pg`, which `@stacksapi/node` does not install.
 *
 * @since 0.1.0
 */
import { randomUUID } from "node:crypto"
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import * as PgClient from "@effect/sql-pg/PgClient"
import type { JobRunner } from "@stacksapi/core/JobRunner"
import * as RateLimit from "@stacksapi/core/RateLimit"
import type * as Stack from "@stacksapi/core/Stack"
import type { StackEvent } from "@stacksapi/core/StackEvent"
import { keyOf } from "@stacksapi/core/Stacks"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import { type CursorStalled, InvalidOptions } from "@stacksapi/core/StacksError"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import { RunnerStorage } from "effect/cluster/RunnerStorage"
import * as ShardId from "effect/cluster/ShardId"
import { Sharding } from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Singleton from "effect/cluster/Singleton"
import * as SocketRunner from "effect/cluster/SocketRunner"
import * as SqlMessageStorage from "effect/cluster/SqlMessageStorage"
import * as SqlRunnerStorage from "effect/cluster/SqlRunnerStorage"
import type * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { MigrationError } from "effect/sql/Migrator"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Book from "./internal/cluster/book.ts"
import * as Database from "./internal/cluster/database.ts"
import { allGroups, queueGroup, seatGroup } from "./internal/cluster/jobEntity.ts"
import * as Journal from "./internal/cluster/journal.ts"
import * as Leader from "./internal/cluster/leader.ts"
import * as Lease from "./internal/cluster/lease.ts"
import * as Logs from "./internal/cluster/logs.ts"
import * as Metrics from "./internal/cluster/metrics.ts"
import { namesOf, shardsPerGroup } from "./internal/cluster/places.ts"
import * as Processes from "./internal/cluster/processes.ts"
import * as Queues from "./internal/cluster/queues.ts"
import * as Roster from "./internal/cluster/roster.ts"
import * as Storage from "./internal/cluster/storage.ts"
import { tidy } from "./internal/cluster/tidy.ts"
import { warnOfUnled } from "./internal/cluster/unled.ts"
import * as Worker from "./internal/cluster/worker.ts"
import { ListenError } from "./internal/http/listenError.ts"
import * as Check from "./internal/options.ts"

export {
  /**
   * An option can't be right, or contradicts those of the other processes; the message says how.
   *
   * @since 0.1.0
   * @category errors
   */
  InvalidOptions,
  /**
   * The process can't listen where it was told to: the port is in use, or the address is not this machine's.
   *
   * @since 0.1.0
   * @category errors
   */
  ListenError
}

/**
 * A queue that the cluster serves, and what is different for it.
 *
 * @since 0.1.0
 * @category options
 */
export interface Queue {
  readonly queueKey: string
  /** The key of this queue's stack. Default `Stacks.keyOf` of the cluster's key and the queue's. */
  readonly key?: string | undefined
  /** What the stack's agents are tagged with. Default: the tags of the cluster. */
  readonly tags?: Stack.Options["tags"]
}

/**
 * Something that happened on a process of the cluster.
 *
 * **Details**
 *
 * - The process that leads a queue tells its events: each of them is told once in the whole cluster, wherever the job runs.
 * - The process that runs a job tells that it `Began`, and how its runner `Ended`, before the service knows of it. `Interrupted`:
 *   the job was canceled, or the process stopped or lost its place in the cluster.
 *
 * @since 0.1.0
 * @category models
 */
export type ClusterEvent =
  | StackEvent
  | Data.TaggedEnum<{
      Began: { readonly job: ScheduledJob; readonly sinceScheduled: Duration.Duration }
      Ended: {
        readonly job: ScheduledJob
        readonly outcome: "Finished" | "AgentOwned" | "Released" | "Failed" | "Interrupted"
        /** That of a job that was `Finished`. */
        readonly exitStatus: number | undefined
        /** Of a job that was `Finished`, or `Failed`. */
        readonly detail: string | undefined
      }
    }>

/**
 * How a process of the cluster is set up. All but `slots` and the addresses should be the same on all processes.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options
  extends Pick<
    Stack.Options,
    "type" | "metadata" | "tags" | "pollInterval" | "stateInterval" | "reservationExpiry" | "shutdownGrace"
  > {
  /** From it the key of each queue's stack is made. */
  readonly key: string
  /**
   * The queues, at least one; their keys, where nothing is different for them. Where in the cluster each is led depends on all of
   * them: to add or remove some, restart all processes with the new list, one by one or at once. As long as processes differ, a
   * queue may have no leader, whether it is new or not; it never has two.
   */
  readonly queues: ReadonlyArray<string | Queue>
  /** How many jobs this process may run at once. Default 25. */
  readonly slots?: number | undefined
  /** The host under which the other processes reach this one. No two have the same host and port. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** The port on which it listens. Default 34431. */
  readonly port?: number | undefined
  /** The address on which it listens. Default `host`. */
  readonly listenHost?: string | undefined
  /**
   * What becomes of a job whose process died while it ran it, if no agent has it. `fail`, the default: it is finished with -1
   * and `stack_error`, and the pipeline's retry rules may run it again. `runAgain`: another process runs it; what the first
   * one did may then be done twice.
   */
  readonly onProcessDeath?: "fail" | "runAgain" | undefined
  /**
   * How long a process may be silent before others take over what it has, 3 seconds to 1 hour. Default 5 seconds. Whether it was
   * killed, hangs or is cut off, nobody can tell. Longer where processes may be starved for seconds, or the database is away
   * for some: what a process had begun when it was given up has failed.
   */
  readonly lockExpiration?: Duration.Input | undefined
  /** What the names of all tables begin with; another one for each cluster in a database. Default `stacksapi`. */
  readonly tablePrefix?: string | undefined
  /**
   * Told of what happens on this process, with the queue's key, one after the other. The process does not wait for it, but at its
   * end, for at most 5 seconds.
   */
  readonly onEvent?: ((event: ClusterEvent, queueKey: string) => Effect.Effect<void>) | undefined
}

/**
 * What a process knows of the cluster.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /**
   * Whether the process takes part. `joining`: it has no place in the cluster yet. `running`: the database has confirmed its place.
   * `cutOff`: it has not, for longer than `lockExpiration`, and nothing new starts here. `leaving`: it was told to stop.
   */
  readonly phase: "joining" | "running" | "cutOff" | "leaving"
  /** How many jobs this process may run at once. */
  readonly slots: number
  /** The processes that are there, as this one saw them last. */
  readonly processes: ReadonlyArray<{ readonly address: string; readonly slots: number }>
  /** The jobs that hold a slot of this process. */
  readonly running: ReadonlyArray<ScheduledJob>
  /** The queues that this process leads: for them it polls, reserves and finishes. */
  readonly leading: ReadonlyArray<{ readonly stackKey: string; readonly status: Stack.Status }>
}

/**
 * A process of the cluster.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly status: Effect.Effect<Status>
  /** Fails when a queue that this process leads can't go on, as with a token that is revoked. */
  readonly awaitFailure: Effect.Effect<never, Stack.StartError | CursorStalled>
}

/**
 * A process of the cluster.
 *
 * @since 0.1.0
 * @category services
 */
export class ClusterStack extends Context.Service<ClusterStack, Service>()("@stacksapi/node/ClusterStack") {}

/** How often a process says that it is alive, and looks who else is. */
const heartbeat = "1 second"
const replaced = new Error("Another process took the place of this one, which was silent for too long")
/** How long a connection to the database is waited for at the start. */
const connectionTimeout = "30 seconds"
/** How often it is looked for what nobody has use for any more. */
const tidyInterval = "10 minutes"

/** What each process can see by itself. */
const check = Effect.fnUntraced(function* (
  options: Omit<Options, "key" | "queues" | "listenHost" | "onEvent" | "tags" | "type" | "metadata">
): Effect.fn.Return<void, InvalidOptions> {
  const { host, lockExpiration, onProcessDeath, pollInterval, port, reservationExpiry, shutdownGrace, slots } = options
  yield* Check.integer("slots", slots, 1)
  yield* Check.text("host", host, "a name or an address")
  yield* Check.port("port", port ?? 1, 1)
  yield* Check.oneOf("onProcessDeath", onProcessDeath, ["fail", "runAgain"])
  yield* Check.duration("lockExpiration", lockExpiration, { min: "3 seconds", max: "1 hour" })
  yield* Check.duration("pollInterval", pollInterval, { min: "1 second" })
  yield* Check.duration("stateInterval", options.stateInterval, { min: "1 second" })
  yield* Check.duration("reservationExpiry", reservationExpiry, { min: "1 second", max: "1 hour" })
  yield* Check.duration("shutdownGrace", shutdownGrace)
  if (!/^[a-z_][a-z0-9_]{0,29}$/.test(options.tablePrefix ?? "")) {
    return yield* Check.invalid("tablePrefix", "must be at most 30 small letters, digits and _, and no digit first")
  }
})

/**
 * Starts a process of the cluster in the background. When the scope closes it hands its queues over, lets its jobs end within
 * `shutdownGrace`, and leaves what is not over by then to the others.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* ({
  host = "127.0.0.1",
  key,
  listenHost = host,
  lockExpiration = "5 seconds",
  onEvent,
  onProcessDeath = "fail",
  port = 34_431,
  queues,
  shutdownGrace = "30 seconds",
  slots = 25,
  tablePrefix = "stacksapi",
  tags,
  ...shared
}: Options): Effect.fn.Return<
  Service,
  InvalidOptions | ListenError | SqlError | MigrationError,
  StacksClient | JobRunner | SqlClient | Scope.Scope
> {
  const stacks = queues.map((queue) => {
    const own = typeof queue === "string" ? { queueKey: queue } : queue
    return { tags, ...own, key: own.key ?? keyOf(key, own.queueKey) }
  })
  if (stacks.length === 0) return yield* Check.invalid("queues", "must name at least one queue")
  const twice = stacks.find((stack, index) => stacks.findIndex(({ key }) => key === stack.key) < index)
  if (twice !== undefined) {
    return yield* Check.invalid("queues", `must have different stack keys; two have ${twice.key}`)
  }
  yield* check({ ...shared, host, lockExpiration, onProcessDeath, port, shutdownGrace, slots, tablePrefix })
  const processId = randomUUID()
  const expiration = Duration.fromInputUnsafe(lockExpiration)
  const clusterPrefix = `${tablePrefix}_cluster`
  // For requests that no other limiter is set for.
  const limiter = Context.get(yield* Layer.build(RateLimit.layerMemory), RateLimit.RateLimit)

  // What is made first ends last: the process is alive until its jobs have ended, and they run until nobody can ask for them.
  const tell = yield* Journal.make(onEvent)
  const outspoken = yield* Logs.outspoken
  const database = yield* Database.make(tablePrefix, clusterPrefix, expiration)
  const roster = yield* Roster.join(database, { processId, clusterKey: key, host, port, slots })
  const lease = yield* Lease.make(expiration)
  const failure = yield* Deferred.make<never, Stack.StartError | CursorStalled>()
  const book = Book.make(database)
  const queueTable = Queues.make(database)
  const processes = Processes.make()
  const leading = new Map<string, Stack.Service>()
  const scope = yield* Effect.scope
  const beating = yield* Scope.fork(scope)
  const worker = yield* Worker.make({
    book,
    lease,
    limiter,
    processId,
    slots,
    onProcessDeath,
    tokenLifetime: shared.reservationExpiry,
    stacks,
    tell,
    outspoken,
    scope: yield* Scope.fork(scope)
  })
  let isOpen = () => false
  const beat = Effect.gen(function* () {
    if ((yield* lease.renew(roster.beat(worker.count(), isOpen()))) === false) yield* Deferred.die(failure, replaced)
  })
  const look = Effect.gen(function* () {
    processes.update(yield* roster.living, yield* queueTable.demands, yield* queueTable.turn)
    yield* worker.audit
  }).pipe(
    Effect.timeout("10 seconds"),
    Effect.catch((error) => Effect.logDebug(`The cluster was not looked at: ${error.message}`))
  )
  for (const task of [beat, look])
    yield* task.pipe(Effect.andThen(Effect.sleep(heartbeat)), Effect.forever, Effect.forkIn(beating))

  const sharding = {
    ...ShardingConfig.defaults,
    runnerAddress: Option.some(RunnerAddress.make(host, port)),
    runnerListenAddress: Option.some(RunnerAddress.make(listenHost, port)),
    availableShardGroups: allGroups,
    assignedShardGroups: [queueGroup, seatGroup(roster.seat)],
    shardsPerGroup,
    shardLockExpiration: expiration,
    shardLockRefreshInterval: Duration.divideUnsafe(expiration, 3),
    refreshAssignmentsInterval: Duration.seconds(1),
    entityMessagePollInterval: Duration.seconds(1),
    entityReplyPollInterval: Duration.millis(200),
    entityTerminationTimeout: shutdownGrace
  }
  // What the cluster has not waited for, because it lost its locks meanwhile, has the rest of its time.
  let leftAt: number | undefined
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      worker.drain.pipe(
        Effect.timeoutOption(
          Duration.subtract(Duration.fromInputUnsafe(shutdownGrace), Duration.millis(now - (leftAt ?? now)))
        ),
        Effect.interruptible
      )
    )
  )
  const storage = yield* SqlRunnerStorage.make({ prefix: clusterPrefix }).pipe(
    Effect.provideService(ShardingConfig.ShardingConfig, sharding),
    Scope.provide(yield* Scope.fork(scope))
  )
  // They have a connection to themselves.
  if (Option.isNone(yield* Effect.timeoutOption(database.sql`SELECT 1`, connectionTimeout))) {
    return yield* Check.invalid(
      "maxConnections",
      "must be at least 2 for the client of the database, or the database does not answer"
    )
  }
  const cluster = yield* Logs.subdued(
    Layer.build(
      SocketRunner.layer.pipe(
        Layer.provide([
          NodeClusterSocket.layerSocketServer,
          NodeClusterSocket.layerClientProtocol,
          // Who is alive is known from the database, which decides what that means.
          RunnerHealth.layerNoop
        ]),
        Layer.provide(RpcSerialization.layerSchemaBinary()),
        Layer.provide([
          Layer.succeed(RunnerStorage, Storage.make(storage, roster)),
          SqlMessageStorage.layerWith({ prefix: clusterPrefix }).pipe(Layer.provide(NodeCrypto.layerDigest))
        ]),
        Layer.provide(ShardingConfig.layer(sharding))
      )
    )
  ).pipe(
    Effect.catchTag("SocketServerError", ({ reason: { cause } }) =>
      Effect.fail(ListenError.of(listenHost, port, cause))
    )
  )
  const { hasShardId } = Context.get(cluster, Sharding)
  const seatShards = Array.from({ length: shardsPerGroup }, (_, index) =>
    ShardId.make(seatGroup(roster.seat), index + 1)
  )
  const names = yield* Effect.provideContext(namesOf(stacks.map(({ key }) => key)), cluster)
  yield* Layer.build(
    Layer.mergeAll(
      worker.layer,
      Singleton.make(
        "StacksapiTidy",
        tidy(database).pipe(
          Effect.catch((error) => Effect.logDebug(`The tables were not tidied: ${error.message}`)),
          Effect.andThen(Effect.sleep(tidyInterval)),
          Effect.forever
        )
      ),
      ...stacks.map((stack) =>
        Leader.layer(
          {
            ...{
              database,
              book,
              queues: queueTable,
              expiration,
              limiter,
              processes,
              leading,
              failure,
              tell,
              outspoken
            },
            stack: { ...shared, ...stack },
            isOnly: stacks.length === 1
          },
          names.get(stack.key) ?? stack.key
        )
      )
    )
  ).pipe(Effect.provideContext(cluster))
  yield* Effect.forkIn(warnOfUnled(queueTable, stacks), beating)
  isOpen = () => seatShards.every(hasShardId)
  yield* Effect.addFinalizer(() => roster.leave)

  let hasJoined = false
  const phase = Effect.sync((): Status["phase"] => {
    const takesPart = lease.isHeld() && isOpen()
    hasJoined ||= takesPart
    if (leftAt !== undefined) return "leaving"
    return takesPart ? "running" : hasJoined ? "cutOff" : "joining"
  })
  let lastPhase: Status["phase"] = "joining"
  const measure = Effect.gen(function* () {
    const now = yield* phase
    yield* Metrics.measure({
      isMember: now === "running",
      slots,
      running: worker.running().length,
      leading: leading.size
    })
    if (now === "cutOff" && lastPhase === "running") {
      yield* Effect.logWarning(
        "The database does not confirm this process's place in the cluster: nothing new starts here"
      )
    }
    if (now === "running" && lastPhase === "cutOff")
      yield* Effect.logInfo("This process has a place in the cluster again")
    lastPhase = now
  })
  yield* Effect.forkScoped(Effect.repeat(measure, Schedule.spaced("1 second")))
  // It ends first: from then on the process leaves.
  yield* Effect.addFinalizer(() =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      leftAt = now
    })
  )

  return {
    status: Effect.gen(function* () {
      return {
        phase: yield* phase,
        slots,
        processes: processes.all().map(({ host, port, slots }) => ({ address: `${host}:${port}`, slots })),
        running: worker.running(),
        leading: yield* Effect.forEach(leading, ([stackKey, stack]) =>
          Effect.map(stack.status, (status) => ({ stackKey, status }))
        )
      }
    }),
    awaitFailure: Deferred.await(failure)
  }
})

/**
 * The database, from `DATABASE_URL` (`postgres://user:password@host/name`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDatabase: Layer.Layer<SqlClient, Config.ConfigError | SqlError> = PgClient.layerConfig({
  url: Config.map(
    // Who connects would show a URL that is none, with the password in it.
    Config.schema(
      Schema.String.check(
        Schema.makeFilter((text) => URL.canParse(text) && /^postgres(ql)?:/.test(text), {
          expected: "a URL such as postgres://user:password@host/name"
        })
      ),
      "DATABASE_URL"
    ),
    Redacted.make
  )
})

/**
 * A process of the cluster that runs as long as the layer is in use.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options) => Layer.effect(ClusterStack, make(options))

/**
 * Runs a process of the cluster until it is interrupted, and then lets it end in order; fails when it can't go on.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (options: Options) =>
  Effect.scoped(Effect.flatMap(make(options), ({ awaitFailure }) => awaitFailure))
