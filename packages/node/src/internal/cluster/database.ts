/** The cluster's tables, and how they are asked. */
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
  /** Effect's: what was sent to entities, their answers, and processes as it knows them. */
  readonly messages: Identifier
  readonly replies: Identifier
  readonly runners: Identifier
  /** Another one than any that a job had before. */
  readonly newTicket: Fragment
  /** Until when what is said now counts: each row knows that by itself, so that processes may differ in it. */
  readonly untilThen: Fragment
  /** For what has to get written, however long the database is away. */
  readonly persistently: <A, R>(effect: Effect.Effect<A, SqlError, R>) => Effect.Effect<A, never, R>
  /** For what is worth nothing when it comes late. Undefined where there is no answer in time, or a failure. */
  readonly promptly: <A>(effect: Effect.Effect<A, SqlError>) => Effect.Effect<A | undefined>
}

/** Not counted: a job that comes back after it was struck must not have one again that it had. */
const anyTicket = "floor(random() * 2147483647)::int"

const migrations = (prefix: string) =>
  Migrator.fromRecord({
    "1_tables": Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      // A job is where its `seat` is; `owner` is the process that has started it, and an `orphan` had one that died. Its `answer`
      // is here where it could not be sent.
      yield* sql`
        CREATE TABLE ${sql(`${prefix}_jobs`)} (
          stack_key TEXT NOT NULL,
          job_uuid TEXT NOT NULL,
          job TEXT NOT NULL,
          seat INTEGER,
          ticket INTEGER NOT NULL DEFAULT ${sql.literal(anyTicket)},
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
    })
  })

/** Makes the tables where they are not there yet. `clusterPrefix` is that of Effect's tables. */
export const make = Effect.fnUntraced(function* (
  prefix: string,
  clusterPrefix: string,
  expiration: Duration.Duration
): Effect.fn.Return<Database, SqlError | Migrator.MigrationError, SqlClient.SqlClient> {
  const sql = (yield* SqlClient.SqlClient).withoutTransforms()
  yield* Migrator.make({})({ loader: migrations(prefix), table: `${prefix}_migrations` }).pipe(
    Effect.provideService(SqlClient.SqlClient, sql)
  )

  let isAway = false
  const onFailure = (message: string) =>
    Effect.suspend(() => {
      if (isAway) return Effect.void
      isAway = true
      return Effect.logWarning(`The cluster's database does not answer: ${message}`)
    })
  const onSuccess = Effect.suspend(() => {
    if (!isAway) return Effect.void
    isAway = false
    return Effect.logInfo("The cluster's database answers again")
  })

  return {
    sql,
    jobs: sql(`${prefix}_jobs`),
    queues: sql(`${prefix}_queues`),
    processes: sql(`${prefix}_processes`),
    messages: sql(`${clusterPrefix}_messages`),
    replies: sql(`${clusterPrefix}_replies`),
    runners: sql(`${clusterPrefix}_runners`),
    newTicket: sql.literal(anyTicket),
    untilThen: sql.literal(`now() + interval '${Duration.toMillis(expiration)} milliseconds'`),
    persistently: (effect) =>
      effect.pipe(
        Effect.timeout(Duration.seconds(10)),
        Effect.tapError(({ message }) => onFailure(message)),
        Effect.retry(Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")])),
        Effect.orDie,
        Effect.tap(onSuccess)
      ),
    // In a fiber that nobody waits for: the end of a query whose connection hangs takes long.
    promptly: (effect) =>
      Effect.flatMap(Effect.forkDetach(Effect.tap(effect, onSuccess)), (asking) =>
        Fiber.join(asking).pipe(
          Effect.timeout(Duration.divideUnsafe(expiration, 3)),
          Effect.catch(({ message }) => Effect.as(onFailure(message), undefined)),
          Effect.ensuring(Effect.sync(() => asking.interruptUnsafe()))
        )
      )
  }
})
