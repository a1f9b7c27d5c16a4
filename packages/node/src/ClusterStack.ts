/**
 * One stack on many machines: any number of identical processes, each with its own slots, that share the work of some queues and take
 * over from each other.
 *
 * **When to use**
 *
 * Use it when one machine is too small, or must not be a single point of failure. For a single process use `Stack.run`.
 *
 * **Details**
 *
 * The processes find each other in a PostgreSQL database (14 or later), by Effect's cluster. Each queue has one leader, which polls,
 * reserves, renews and finishes. Each job runs on one process, in one of its slots. If a process dies:
 *
 * - jobs that it had not started are started by another process;
 * - jobs that an agent has acquired are left to the agent. An agent on another machine or in its own container continues. The agents of
 *   `AgentRunner` on the same machine are stopped by its reaper;
 * - other jobs are finished with -1 and `stack_error`, or run again: see `onProcessDeath`.
 *
 * Another process takes over the polling within `lockExpiration` and a few seconds: 10 seconds by default. A process that loses the
 * database, or was suspended, stops its jobs, except those that agents have acquired. Stopping takes up to the grace period of the
 * runner, and may overlap with the work of the process that took over.
 *
 * **Gotchas**
 *
 * The processes talk to each other over TCP, without encryption or authentication: use a network in which nobody else can reach
 * their ports. This module needs the package `@effect/sql-pg`, which `@stacksapi/node` does not install.
 *
 * @see `Stacks` in `@stacksapi/core` for several queues in one process
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
import * as Database from "./internal/cluster/database.ts"
import * as Events from "./internal/cluster/events.ts"
import { collectGarbage } from "./internal/cluster/garbageCollection.ts"
import { allGroups, memberGroup, queueGroup } from "./internal/cluster/jobEntity.ts"
import * as Leader from "./internal/cluster/leader.ts"
import { warnOfLeaderless } from "./internal/cluster/leaderless.ts"
import * as Lease from "./internal/cluster/lease.ts"
import * as Logs from "./internal/cluster/logs.ts"
import * as Members from "./internal/cluster/members.ts"
import * as MemberTable from "./internal/cluster/memberTable.ts"
import * as Metrics from "./internal/cluster/metrics.ts"
import * as Ownership from "./internal/cluster/ownership.ts"
import { shardsPerGroup, singletonNames } from "./internal/cluster/placement.ts"
import * as Queues from "./internal/cluster/queues.ts"
import * as Storage from "./internal/cluster/storage.ts"
import * as Worker from "./internal/cluster/worker.ts"
import { ListenError } from "./internal/http/listenError.ts"
import * as Check from "./internal/options.ts"

export {
  /**
   * An option is invalid, or contradicts the options of the other processes; the message says how.
   *
   * @since 0.1.0
   * @category errors
   */
  InvalidOptions,
  /**
   * The process can't listen on its address: the port is in use, or the address does not belong to this machine.
   *
   * @since 0.1.0
   * @category errors
   */
  ListenError
}

/**
 * A queue that the cluster serves, with its own settings.
 *
 * @since 0.1.0
 * @category options
 */
export interface Queue {
  readonly queueKey: string
  /** The key of this queue's stack. Default `Stacks.keyOf` of the cluster's key and the queue's. */
  readonly key?: string | undefined
  /** The tags of the stack's agents. Default: the tags of the cluster. */
  readonly tags?: Stack.Options["tags"]
}

/**
 * Something that happened on a process of the cluster.
 *
 * **Details**
 *
 * - The leader of a queue publishes the queue's events: each event occurs once in the whole cluster, wherever the job runs.
 * - The process that runs a job publishes `RunStarted` and `RunEnded`, before the service knows of the start or the end. The outcome
 *   `Interrupted` means that the job was canceled, or the process stopped or lost its membership of the cluster.
 *
 * @since 0.1.0
 * @category models
 */
export type ClusterEvent =
  | StackEvent
  | Data.TaggedEnum<{
      RunStarted: { readonly job: ScheduledJob; readonly sinceScheduled: Duration.Duration }
      RunEnded: {
        readonly job: ScheduledJob
        readonly outcome: "Finished" | "AgentOwned" | "Released" | "Failed" | "Interrupted"
        /** Only for `Finished`. */
        readonly exitStatus: number | undefined
        /** Only for `Finished` and `Failed`. */
        readonly detail: string | undefined
      }
    }>

/**
 * The options of a process of the cluster. All but `slots` and the addresses should be the same on all processes.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options
  extends Pick<
    Stack.Options,
    "type" | "metadata" | "tags" | "pollInterval" | "stateInterval" | "reservationExpiry" | "shutdownGrace"
  > {
  /** The key of each queue's stack is derived from this key. */
  readonly key: string
  /**
   * The queues, at least one: their keys, or a `Queue` for one with its own settings. The placement of every leader depends on the whole
   * list. To add or remove queues, restart all processes with the new list, one by one or at once. While processes have different
   * lists, any queue may have no leader, but never two.
   */
  readonly queues: ReadonlyArray<string | Queue>
  /** How many jobs this process may run at once. Default 25. */
  readonly slots?: number | undefined
  /** The host at which the other processes reach this one. Each process needs its own host and port. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** The port to listen on. Default 34431. */
  readonly port?: number | undefined
  /** The address to listen on. Default `host`. */
  readonly listenHost?: string | undefined
  /**
   * What to do with a job whose process died while it ran the job, if no agent has acquired it. `fail`, the default: finish it with -1
   * and `stack_error`; the pipeline's retry rules may run it again. `retry`: run it on another process, which may repeat work of
   * the first one.
   */
  readonly onProcessDeath?: "fail" | "retry" | undefined
  /**
   * How long a process may miss its heartbeats before others take over its work, 3 seconds to 1 hour. Default 5 seconds. Other processes
   * can't tell whether it was killed, hangs or is partitioned. Use a longer time if processes get no CPU time, or the database is
   * unavailable, for seconds: if a live process is declared dead, its running jobs are interrupted and failed.
   */
  readonly lockExpiration?: Duration.Input | undefined
  /** The prefix of all table names, different for each cluster in a database. Default `stacksapi`. */
  readonly tablePrefix?: string | undefined
  /**
   * Called for each event of this process, with the queue's key, one event after the other. The process waits for it only when it ends, for
   * at most 5 seconds.
   */
  readonly onEvent?: ((event: ClusterEvent, queueKey: string) => Effect.Effect<void>) | undefined
}

/**
 * The state of a process of the cluster.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /**
   * Whether the process is a member of the cluster. `joining`: not yet. `running`: the database has confirmed it. `partitioned`: the
   * database has not confirmed it for longer than `lockExpiration`, and this process starts nothing new. `leaving`: the process is
   * stopping.
   */
  readonly phase: "joining" | "running" | "partitioned" | "leaving"
  /** How many jobs this process may run at once. */
  readonly slots: number
  /** The processes that are alive, as this one saw them last. */
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
  /** Fails when a queue that this process leads fails, for example because the token was revoked. */
  readonly awaitFailure: Effect.Effect<never, Stack.StartError | CursorStalled>
}

/**
 * A process of the cluster.
 *
 * @since 0.1.0
 * @category services
 */
export class ClusterStack extends Context.Service<ClusterStack, Service>()("@stacksapi/node/ClusterStack") {}

/** How often a process sends a heartbeat, and reads the state of the cluster. */
const heartbeatInterval = "1 second"
const replaced = new Error("Another process has replaced this one, which missed its heartbeats for too long")
/** How long to wait for a connection to the database at the start. */
const connectionTimeout = "30 seconds"
/** How often garbage is collected. */
const collectInterval = "10 minutes"

/** Checks the options that need no database. */
const checkOptions = Effect.fnUntraced(function* (
  options: Omit<Options, "key" | "queues" | "listenHost" | "onEvent" | "tags" | "type" | "metadata">
): Effect.fn.Return<void, InvalidOptions> {
  const { host, lockExpiration, onProcessDeath, pollInterval, port, reservationExpiry, shutdownGrace, slots } = options
  yield* Check.integer("slots", slots, 1)
  yield* Check.text("host", host, "a name or an address")
  yield* Check.port("port", port ?? 1, 1)
  yield* Check.oneOf("onProcessDeath", onProcessDeath, ["fail", "retry"])
  yield* Check.duration("lockExpiration", lockExpiration, { min: "3 seconds", max: "1 hour" })
  yield* Check.duration("pollInterval", pollInterval, { min: "1 second" })
  yield* Check.duration("stateInterval", options.stateInterval, { min: "1 second" })
  yield* Check.duration("reservationExpiry", reservationExpiry, { min: "1 second", max: "1 hour" })
  yield* Check.duration("shutdownGrace", shutdownGrace)
  if (!/^[a-z_][a-z0-9_]{0,29}$/.test(options.tablePrefix ?? "")) {
    return yield* Check.invalid(
      "tablePrefix",
      "must be at most 30 lower-case letters, digits and _, and must not start with a digit"
    )
  }
})

/**
 * Starts a process of the cluster in the background. When the scope closes, it hands over its queues, gives its jobs `shutdownGrace`
 * to end, and leaves the remaining work to the other processes.
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
  const duplicate = stacks.find((stack, index) => stacks.findIndex(({ key }) => key === stack.key) < index)
  if (duplicate !== undefined) {
    return yield* Check.invalid("queues", `must have different stack keys; two have ${duplicate.key}`)
  }
  yield* checkOptions({ ...shared, host, lockExpiration, onProcessDeath, port, shutdownGrace, slots, tablePrefix })
  const processId = randomUUID()
  const expiration = Duration.fromInputUnsafe(lockExpiration)
  const clusterPrefix = `${tablePrefix}_cluster`
  // For requests without another limiter.
  const limiter = Context.get(yield* Layer.build(RateLimit.layerMemory), RateLimit.RateLimit)

  // The finalizers run in reverse order: the heartbeats end after the jobs, and the jobs after the cluster.
  const publish = yield* Events.make(onEvent)
  const restoreLogs = yield* Logs.restoreLogs
  const database = yield* Database.make(tablePrefix, clusterPrefix, expiration)
  const members = yield* Members.join(database, { processId, clusterKey: key, host, port, slots })
  const lease = yield* Lease.make(expiration)
  const failure = yield* Deferred.make<never, Stack.StartError | CursorStalled>()
  const ownership = Ownership.make(database)
  const queueTable = Queues.make(database)
  const memberTable = MemberTable.make()
  const leading = new Map<string, Stack.Service>()
  const scope = yield* Effect.scope
  const heartbeatScope = yield* Scope.fork(scope)
  const worker = yield* Worker.make({
    ownership,
    lease,
    limiter,
    processId,
    slots,
    onProcessDeath,
    tokenLifetime: shared.reservationExpiry,
    stacks,
    publish,
    restoreLogs,
    scope: yield* Scope.fork(scope)
  })
  let isOpen = () => false
  const sendHeartbeat = Effect.gen(function* () {
    if ((yield* lease.renew(members.heartbeat(worker.count(), isOpen()))) === false)
      yield* Deferred.die(failure, replaced)
  })
  const readState = Effect.gen(function* () {
    memberTable.update(yield* members.alive, yield* queueTable.demands, yield* queueTable.turn)
    yield* worker.audit
  }).pipe(
    Effect.timeout("10 seconds"),
    Effect.catch((error) => Effect.logDebug(`Could not read the state of the cluster: ${error.message}`))
  )
  for (const task of [sendHeartbeat, readState])
    yield* task.pipe(Effect.andThen(Effect.sleep(heartbeatInterval)), Effect.forever, Effect.forkIn(heartbeatScope))

  const sharding = {
    ...ShardingConfig.defaults,
    runnerAddress: Option.some(RunnerAddress.make(host, port)),
    runnerListenAddress: Option.some(RunnerAddress.make(listenHost, port)),
    availableShardGroups: allGroups,
    assignedShardGroups: [queueGroup, memberGroup(members.memberId)],
    shardsPerGroup,
    shardLockExpiration: expiration,
    shardLockRefreshInterval: Duration.divideUnsafe(expiration, 3),
    refreshAssignmentsInterval: Duration.seconds(1),
    entityMessagePollInterval: Duration.seconds(1),
    entityReplyPollInterval: Duration.millis(200),
    entityTerminationTimeout: shutdownGrace
  }
  // Effect's cluster does not wait for jobs if it has lost its locks: they get the rest of the grace period here.
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
  // The locks have a connection of their own.
  if (Option.isNone(yield* Effect.timeoutOption(database.sql`SELECT 1`, connectionTimeout))) {
    return yield* Check.invalid(
      "maxConnections",
      "must be at least 2 for the client of the database, or the database does not respond"
    )
  }
  const cluster = yield* Logs.demoteLogs(
    Layer.build(
      SocketRunner.layer.pipe(
        Layer.provide([
          NodeClusterSocket.layerSocketServer,
          NodeClusterSocket.layerClientProtocol,
          // `Members` decides from the database which processes are alive.
          RunnerHealth.layerNoop
        ]),
        Layer.provide(RpcSerialization.layerSchemaBinary()),
        Layer.provide([
          Layer.succeed(RunnerStorage, Storage.make(storage, members)),
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
  const memberShards = Array.from({ length: shardsPerGroup }, (_, index) =>
    ShardId.make(memberGroup(members.memberId), index + 1)
  )
  const names = yield* Effect.provideContext(singletonNames(stacks.map(({ key }) => key)), cluster)
  yield* Layer.build(
    Layer.mergeAll(
      worker.layer,
      Singleton.make(
        "StacksapiGarbageCollection",
        collectGarbage(database).pipe(
          Effect.catch((error) => Effect.logDebug(`Could not collect garbage in the tables: ${error.message}`)),
          Effect.andThen(Effect.sleep(collectInterval)),
          Effect.forever
        )
      ),
      ...stacks.map((stack) =>
        Leader.layer(
          {
            ...{
              database,
              ownership,
              queues: queueTable,
              expiration,
              limiter,
              members: memberTable,
              leading,
              failure,
              publish,
              restoreLogs
            },
            stack: { ...shared, ...stack },
            isOnly: stacks.length === 1
          },
          names.get(stack.key) ?? stack.key
        )
      )
    )
  ).pipe(Effect.provideContext(cluster))
  yield* Effect.forkIn(warnOfLeaderless(queueTable, stacks), heartbeatScope)
  isOpen = () => memberShards.every(hasShardId)
  yield* Effect.addFinalizer(() => members.leave)

  let hasJoined = false
  const phase = Effect.sync((): Status["phase"] => {
    const isMember = lease.isHeld() && isOpen()
    hasJoined ||= isMember
    if (leftAt !== undefined) return "leaving"
    return isMember ? "running" : hasJoined ? "partitioned" : "joining"
  })
  let lastPhase: Status["phase"] = "joining"
  const updateGauges = Effect.gen(function* () {
    const now = yield* phase
    yield* Metrics.update({
      isMember: now === "running",
      slots,
      running: worker.running().length,
      leading: leading.size
    })
    if (now === "partitioned" && lastPhase === "running") {
      yield* Effect.logWarning(
        "This process is partitioned: the database does not confirm its membership of the cluster, so it starts nothing new"
      )
    }
    if (now === "running" && lastPhase === "partitioned")
      yield* Effect.logInfo("This process is a member of the cluster again")
    lastPhase = now
  })
  yield* Effect.forkScoped(Effect.repeat(updateGauges, Schedule.spaced("1 second")))
  // This finalizer runs first: the process is leaving from then on.
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
        processes: memberTable.all().map(({ host, port, slots }) => ({ address: `${host}:${port}`, slots })),
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
 * The database named by `DATABASE_URL` (`postgres://user:password@host/name`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDatabase: Layer.Layer<SqlClient, Config.ConfigError | SqlError> = PgClient.layerConfig({
  url: Config.map(
    // The client's error for an invalid URL would show the password in it.
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
 * Runs a process of the cluster for as long as the layer is in use.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options) => Layer.effect(ClusterStack, make(options))

/**
 * Runs a process of the cluster until it is interrupted, then shuts it down in order. Fails when a queue fails.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (options: Options) =>
  Effect.scoped(Effect.flatMap(make(options), ({ awaitFailure }) => awaitFailure))
