/** `stacksapi run --cluster`. It is imported only then, because it needs optional peer dependencies. */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { JobRunner } from "@stacksapi/core/JobRunner"
import type { StacksClient } from "@stacksapi/core/StacksClient"
import type { StacksError } from "@stacksapi/core/StacksError"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Migrator from "effect/sql/Migrator"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as ClusterStack from "../../ClusterStack.ts"
import type * as StackView from "../../StackView.ts"
import { rootError } from "../rootError.ts"
import * as Access from "./access.ts"
import { Failed, Misused } from "./failure.ts"
import { importPeer } from "./optionalPeers.ts"
import type { RunInput } from "./runFlags.ts"

/** A process of the cluster that is ready to start. */
export interface ClusterProcess {
  /** Runs until it is interrupted, or a queue fails. */
  readonly run: (
    view: StackView.View,
    watch: (cluster: ClusterStack.Service) => Effect.Effect<void>
  ) => Effect.Effect<never, Failed | Misused | StacksError | Config.ConfigError, StacksClient | JobRunner | Scope.Scope>
}

/** Checks everything that a process of the cluster needs, so that it fails before anything starts. */
export const prepare = Effect.fnUntraced(function* (input: RunInput) {
  const url = yield* databaseUrl
  const limits = yield* sharedLimits(input)
  const database = yield* Layer.build(PgClient.layer({ url, applicationName: "stacksapi", prepare: false })).pipe(
    Effect.tap((database) => Context.get(database, SqlClient)`SELECT 1`),
    Effect.mapError(ofDatabase)
  )
  const run: ClusterProcess["run"] = Effect.fnUntraced(
    function* (view, watch) {
      const cluster = yield* ClusterStack.make({
        key: input.key,
        queues: input.queues,
        slots: input.maxInFlight,
        tags: Option.getOrUndefined(input.tags),
        onProcessDeath: input.onProcessDeath,
        lockExpiration: input.lockExpiration * 1000,
        tablePrefix: input.tablePrefix,
        shutdownGrace: input.shutdownGrace * 1000,
        metadata: { program: "stacksapi run --cluster" },
        onEvent: view.onClusterEvent
      })
      yield* watch(cluster)
      return yield* cluster.awaitFailure
    },
    Effect.catchTags({
      InvalidOptions: ({ message }) => Effect.fail(new Misused({ message })),
      JobStoreError: ({ message }) => Effect.fail(new Failed({ message })),
      SqlError: (error) => Effect.fail(ofDatabase(error)),
      MigrationError: (error) => Effect.fail(ofDatabase(error))
    }),
    Effect.provideContext(Context.merge(database, limits))
  )
  return { run } satisfies ClusterProcess
})

// -----------------------------------------------------------------------------
// Database and Redis
// -----------------------------------------------------------------------------

const databaseUrl = Effect.gen(function* () {
  const url = yield* Access.secret("DATABASE_URL")
  if (url === "") {
    return yield* new Failed({
      message:
        "No database is set. Set DATABASE_URL to postgres://user:password@host:port/database, or DATABASE_URL_FILE to a file with it"
    })
  }
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol)) {
    return yield* new Failed({
      message:
        "DATABASE_URL has to look like postgres://user:password@host:port/database, with %40 for an @ in the password"
    })
  }
  return Redacted.make(url, { label: "DATABASE_URL" })
})

const ofDatabase = (error: SqlError | Migrator.MigrationError): Failed =>
  new Failed({ message: `The database of DATABASE_URL can't be used: ${rootError(error).message}` })

/** The rate limits of all processes together if there is a Redis; else none, and this process has its own. */
const sharedLimits = Effect.fnUntraced(function* (input: RunInput) {
  const url = yield* Access.secret("REDIS_URL")
  if (url === "") return Context.empty()
  const RedisRateLimit = yield* importPeer("REDIS_URL", () => import("../../RedisRateLimit.ts"))
  return yield* Layer.build(
    RedisRateLimit.layer({
      url: Redacted.make(url, { label: "REDIS_URL" }),
      processes: input.processes,
      prefix: Option.getOrUndefined(input.redisPrefix)
    })
  )
})
