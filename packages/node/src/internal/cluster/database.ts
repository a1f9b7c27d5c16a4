/** The cluster's tables, and how to query them. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment, Identifier } from "effect/sql/Statement"

export interface Database {
  readonly sql: SqlClient.SqlClient
  readonly jobs: Identifier
  readonly queues: Identifier
  readonly processes: Identifier
  /** Effect's tables: messages to entities, their replies, and runners. */
  readonly messages: Identifier
  readonly replies: Identifier
  readonly runners: Identifier
  /** A dispatch id that the job did not have before. */
  readonly newDispatchId: Fragment
  /** When a lease that is renewed now expires. Each row stores its own time, so processes may have different settings. */
  readonly expiresAt: Fragment
  /** Retries until the database accepts it. */
  readonly persistently: <A, R>(effect: Effect.Effect<A, SqlError, R>) => Effect.Effect<A, never, R>
  /** Does not retry, for what is useless when late. Undefined if it fails or has no result in time. */
  readonly promptly: <A>(effect: Effect.Effect<A, SqlError>) => Effect.Effect<A | undefined>
}

/** Random, not counted: a job that is listed again after its row was removed must not get an old id. */
const randomDispatchId = "floor(random() * 2147483647)::int"

const migrations = (prefix: string) =>
  Migrator.fromRecord({
    "1_tables": Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      // `seat` and `ticket` have other names since the second migration. `owner` is the process that has started the job, `orphan`
      // says that an owner died, and `answer` is set if it could not be sent.
      yield* sql`
        CREATE TABLE ${sql(`${prefix}_jobs`)} (
          stack_key TEXT NOT NULL,
          job_uuid TEXT NOT NULL,
          job TEXT NOT NULL,
          seat INTEGER,
          ticket INTEGER NOT NULL DEFAULT ${sql.literal(randomDispatchId)},
          owner TEXT,
          orphan BOOLEAN NOT NULL DEFAULT FALSE,
          answer TEXT,
          PRIMARY KEY (stack_key, job_uuid)
        )`
      yield* sql`
        CREATE TABLE ${sql(`${prefix}_queues`)} (
          stack_key TEXT PRIMARY KEY,
          leader TEXT,
          wanted INTEGER NOT NULL,
          until TIMESTAMPTZ NOT NULL
        )`
      yield* sql`
        CREATE TABLE ${sql(`${prefix}_processes`)} (
          seat INTEGER PRIMARY KEY,
          process_id TEXT NOT NULL,
          cluster_key TEXT NOT NULL,
          host TEXT NOT NULL,
          port INTEGER NOT NULL,
          slots INTEGER NOT NULL,
          running INTEGER NOT NULL,
          phase TEXT NOT NULL,
          until TIMESTAMPTZ NOT NULL,
          UNIQUE (host, port)
        )`
    }),
    "2_names": Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`ALTER TABLE ${sql(`${prefix}_jobs`)} RENAME COLUMN seat TO member_id`
      yield* sql`ALTER TABLE ${sql(`${prefix}_jobs`)} RENAME COLUMN ticket TO dispatch_id`
      yield* sql`ALTER TABLE ${sql(`${prefix}_processes`)} RENAME COLUMN seat TO member_id`
    })
  })

/** Creates or migrates the tables. `clusterPrefix` is the prefix of Effect's tables. */
export const make = Effect.fnUntraced(function* (
  prefix: string,
  clusterPrefix: string,
  expiration: Duration.Duration
): Effect.fn.Return<Database, SqlError | Migrator.MigrationError, SqlClient.SqlClient> {
  const sql = (yield* SqlClient.SqlClient).withoutTransforms()
  yield* Migrator.make({})({ loader: migrations(prefix), table: `${prefix}_migrations` }).pipe(
    Effect.provideService(SqlClient.SqlClient, sql)
  )

  let isUnavailable = false
  const onFailure = (message: string) =>
    Effect.suspend(() => {
      if (isUnavailable) return Effect.void
      isUnavailable = true
      return Effect.logWarning(`The cluster's database does not respond: ${message}`)
    })
  const onSuccess = Effect.suspend(() => {
    if (!isUnavailable) return Effect.void
    isUnavailable = false
    return Effect.logInfo("The cluster's database responds again")
  })

  return {
    sql,
    jobs: sql(`${prefix}_jobs`),
    queues: sql(`${prefix}_queues`),
    processes: sql(`${prefix}_processes`),
    messages: sql(`${clusterPrefix}_messages`),
    replies: sql(`${clusterPrefix}_replies`),
    runners: sql(`${clusterPrefix}_runners`),
    newDispatchId: sql.literal(randomDispatchId),
    expiresAt: sql.literal(`now() + interval '${Duration.toMillis(expiration)} milliseconds'`),
    persistently: (effect) =>
      effect.pipe(
        Effect.timeout(Duration.seconds(10)),
        Effect.tapError(({ message }) => onFailure(message)),
        Effect.retry(Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")])),
        Effect.orDie,
        Effect.tap(onSuccess)
      ),
    // In a detached fiber: interrupting a query whose connection hangs takes long.
    promptly: (effect) =>
      Effect.flatMap(Effect.forkDetach(Effect.tap(effect, onSuccess)), (query) =>
        Fiber.join(query).pipe(
          Effect.timeout(Duration.divideUnsafe(expiration, 3)),
          Effect.catch(({ message }) => Effect.as(onFailure(message), undefined)),
          Effect.ensuring(Effect.sync(() => query.interruptUnsafe()))
        )
      )
  }
})
