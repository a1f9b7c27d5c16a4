/** Checks the options of a process of the cluster, and starts it. */
import { hostname } from "node:os"
import type { JobRunner } from "@stacksapi/core/JobRunner"
import { keyOf } from "@stacksapi/core/Stacks"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { MigrationError } from "effect/sql/Migrator"
import type { SqlClient } from "effect/sql/SqlClient"
import { ConnectionError, isSqlError, SqlError } from "effect/sql/SqlError"
import type { Options, Service } from "../../ClusterStack.ts"
import * as Check from "../options.ts"
import * as Cluster from "./cluster.ts"
import * as Events from "./events.ts"
import * as Postgres from "./postgres.ts"
import type { StorageError } from "./storage.ts"

export const start = Effect.fnUntraced(function* ({
  key,
  lockExpiration = "5 seconds",
  name = `${hostname()}:${process.pid}`,
  onEvent,
  onProcessDeath = "fail",
  queues,
  shutdownGrace = "30 seconds",
  slots = 25,
  tablePrefix = "stacksapi",
  tags,
  ...shared
}: Options): Effect.fn.Return<
  Service,
  InvalidOptions | SqlError | MigrationError,
  StacksClient | JobRunner | SqlClient | Scope.Scope
> {
  const stacks = queues.map((queue) => {
    const own = typeof queue === "string" ? { queueKey: queue } : queue
    return { ...shared, tags, ...own, key: own.key ?? keyOf(key, own.queueKey) }
  })
  yield* checkStacks(stacks)
  yield* checkOptions({ ...shared, name, lockExpiration, onProcessDeath, shutdownGrace, slots, tablePrefix })
  const expiration = Duration.fromInputUnsafe(lockExpiration)
  const publish = yield* Events.make(onEvent)
  const storage = yield* Postgres.make(tablePrefix, expiration)
  const starting = Cluster.make(storage, {
    key,
    name,
    stacks,
    slots,
    expiration,
    onProcessDeath,
    shutdownGrace: Duration.fromInputUnsafe(shutdownGrace),
    publish
  })
  return yield* Effect.catchTag(starting, "StorageError", (error) => Effect.fail(toSqlError(error)))
})

const toSqlError = ({ cause, message }: StorageError): SqlError =>
  isSqlError(cause) ? cause : new SqlError({ reason: new ConnectionError({ cause, message }) })

const checkStacks = (stacks: ReadonlyArray<{ readonly key: string }>) => {
  if (stacks.length === 0) return Check.invalid("queues", "must name at least one queue")
  const duplicate = stacks.find((stack, index) => stacks.findIndex(({ key }) => key === stack.key) < index)
  return duplicate === undefined
    ? Effect.void
    : Check.invalid("queues", `must have different stack keys; two have ${duplicate.key}`)
}

/** Checks the options that need no database. */
const checkOptions = Effect.fnUntraced(function* (
  options: Omit<Options, "key" | "queues" | "onEvent" | "tags" | "type" | "metadata">
): Effect.fn.Return<void, InvalidOptions> {
  const { lockExpiration, name, onProcessDeath, pollInterval, reservationExpiry, shutdownGrace, slots } = options
  yield* Check.integer("slots", slots, 1)
  yield* Check.text("name", name, "a text that is not blank")
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
