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
 * The processes share a PostgreSQL database (14 or later), and don't connect to each other. Each queue has one leader, which
 * polls, reserves, renews and finishes. Each job runs on one process, in one of its slots. Where agents live elsewhere, as with
 * `AgentProvider`, the leader of a queue creates and watches its agents, and the next leader finds them again. If a process dies:
 *
 * - jobs that it had not claimed are started by another process. A process claims a job just before it starts the job;
 * - jobs that an agent has acquired are left to the agent. An agent on another machine or in its own container continues. The agents of
 *   `AgentRunner` on the same machine are stopped by its reaper;
 * - other jobs are finished with -1 and `stack_error`, or run again: see `onProcessDeath`.
 *
 * Another process takes over the polling within `lockExpiration` plus 2 seconds: within 7 seconds by default. A process that loses the
 * database, or was suspended, stops its jobs, except those that agents have acquired. Stopping takes up to the grace period of the
 * runner, and may overlap with the work of the process that took over.
 *
 * **Gotchas**
 *
 * Anyone who can write to the database can run jobs. This module needs the package `@effect/sql-pg`, which `@stacksapi/node` does
 * not install.
 *
 * @see `Stacks` in `@stacksapi/core` for several queues in one process
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { JobRunner } from "@stacksapi/core/JobRunner"
import type * as Stack from "@stacksapi/core/Stack"
import type { StackEvent } from "@stacksapi/core/StackEvent"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import { InvalidOptions } from "@stacksapi/core/StacksError"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { MigrationError } from "effect/sql/Migrator"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { start } from "./internal/cluster/start.ts"

export {
  /**
   * An option is invalid, or contradicts the options of the other processes; the message says how.
   *
   * @since 0.1.0
   * @category errors
   */
  InvalidOptions
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
 * The options of a process of the cluster. All but `slots` and `name` must be the same on all processes; during a change, `queues` and
 * `lockExpiration` may differ.
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
   * The queues (at least one). Each is a queue key, or a `Queue` to give that queue its own settings. A process leads and runs jobs only of
   * the queues in its list. To add or remove queues, restart the processes with the new list, one by one. A queue is served as long as one of them
   * lists it.
   */
  readonly queues: ReadonlyArray<string | Queue>
  /** How many jobs this process may run at once. Default 25. */
  readonly slots?: number | undefined
  /** The name of this process in the status of all processes. Default: the machine's name, and the number of the process. */
  readonly name?: string | undefined
  /**
   * What to do with a job whose process died while it ran the job, if no agent has acquired it. `fail`, the default: finish it with -1
   * and `stack_error`; the pipeline's retry rules may run it again. `retry`: run it on another process, which may repeat work of
   * the first one.
   */
  readonly onProcessDeath?: "fail" | "retry" | undefined
  /**
   * How long a process may miss its heartbeats before others take over its work, 3 seconds to 1 hour. Default 5 seconds. Other processes
   * can't tell whether it was killed, hangs or is partitioned. Use a longer time if processes can pause, or the database can be
   * unavailable, for several seconds: if a live process is declared dead, its running jobs are interrupted and failed.
   */
  readonly lockExpiration?: Duration.Input | undefined
  /** The prefix of all table names, different for each cluster in a database. Default `stacksapi`. */
  readonly tablePrefix?: string | undefined
  /**
   * Called for each event of this process, with the queue's key, one event after the other. The process waits for it only when it ends, for
   * at most 5 seconds. At most 10,000 events wait for it: further ones are dropped, and a warning is logged.
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
   * database has not confirmed it for nine tenths of `lockExpiration`, and this process starts nothing new. `leaving`: the process is
   * stopping.
   */
  readonly phase: "joining" | "running" | "partitioned" | "leaving"
  /** How many jobs this process may run at once. */
  readonly slots: number
  /** The processes that are alive, as this one saw them last. */
  readonly processes: ReadonlyArray<{ readonly name: string; readonly slots: number }>
  /** The jobs that hold a slot of this process, and those whose agents it watches elsewhere. */
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
  /**
   * Fails when the token is refused (401), or when the only queue fails. If one of several queues fails, the process logs this, and tries
   * the queue again every minute.
   */
  readonly awaitFailure: Effect.Effect<never, Stack.StartError>
}

/**
 * A process of the cluster.
 *
 * @since 0.1.0
 * @category services
 */
export class ClusterStack extends Context.Service<ClusterStack, Service>()("@stacksapi/node/ClusterStack") {}

/**
 * Starts a process of the cluster in the background. When the scope closes, it hands over its queues, gives its jobs `shutdownGrace`
 * to end, and leaves the remaining work to the other processes.
 *
 * **Details**
 *
 * With the client of `@effect/sql-pg`, processes notify each other of changes through PostgreSQL (`LISTEN` and `NOTIFY`). With another
 * client they poll once a second. If the database refuses the process, this fails with `SqlError`; a temporary failure is retried
 * for a few seconds. A process usually uses 4 connections or fewer, one of them for notifications. Behind a pooler that
 * pools transactions, such as pgbouncer in transaction mode, set the client's `prepare: false`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<
  Service,
  InvalidOptions | SqlError | MigrationError,
  StacksClient | JobRunner | SqlClient | Scope.Scope
> = start

/**
 * The database named by `DATABASE_URL` (`postgres://user:password@host/name`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDatabase: Layer.Layer<SqlClient, Config.ConfigError | SqlError> = PgClient.layerConfig({
  // So it works behind a pooler that pools transactions.
  prepare: Config.succeed(false),
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
 * Runs a process of the cluster until it is interrupted, then shuts it down in order. Fails as {@link Service.awaitFailure} does.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (options: Options) =>
  Effect.scoped(Effect.flatMap(make(options), ({ awaitFailure }) => awaitFailure))
