/** The jobs that a cluster has, in one table: which are its, where each was sent, and which process has started it. */

import type * as StackLedger from "@stacksapi/core/StackLedger"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/** Where a job was sent, and the how manieth time. */
interface Placement {
  readonly entityId: string
  readonly attempt: number
}

export interface JobKey {
  readonly stackKey: string
  readonly jobUuid: string
}

export interface Demand {
  readonly stackKey: string
  /** How many slots the queue has use for now. */
  readonly wanted: number
}

export interface Book {
  /** The jobs of one stack, as its ledger. `onStruck` is told of those that had been sent somewhere. */
  readonly ledger: (stackKey: string, onStruck: (entityId: string) => Effect.Effect<void>) => StackLedger.StackLedger
  /** Notes where a job is sent. Where it has been sent already, tells that instead. */
  readonly place: (key: JobKey, entityId: string) => Effect.Effect<Placement>
  /** Lets a job be sent anew. */
  readonly displace: (key: JobKey) => Effect.Effect<void>
  /** The process that has started a job: its id, undefined where none has, null where the job is not in the book. */
  readonly owner: (key: JobKey) => Effect.Effect<string | undefined | null>
  /** Makes a process the owner instead of the former one; says whether it is. */
  readonly claim: (key: JobKey, former: string | undefined, owner: string) => Effect.Effect<boolean>
  /** Says what a queue has use for, and tells what all queues said in the last seconds. */
  readonly demand: (own: Demand) => Effect.Effect<ReadonlyArray<Demand>, SqlError>
}

const JobJson = Schema.fromJsonString(StacksSchema.ScheduledJob)
const encodeJob = Schema.encodeSync(JobJson)
const decodeJob = Schema.decodeUnknownEffect(JobJson)

const migrations = (prefix: string) =>
  Migrator.fromRecord({
    "1_jobs": Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.andThen(
        sql`
          CREATE TABLE ${sql(`${prefix}_jobs`)} (
            stack_key TEXT NOT NULL,
            job_uuid TEXT NOT NULL,
            job TEXT NOT NULL,
            entity_id TEXT,
            attempt INTEGER NOT NULL DEFAULT 0,
            owner TEXT,
            PRIMARY KEY (stack_key, job_uuid)
          )`,
        sql`
          CREATE TABLE ${sql(`${prefix}_demands`)} (
            stack_key TEXT PRIMARY KEY,
            wanted INTEGER NOT NULL,
            said_at TIMESTAMPTZ NOT NULL
          )`
      )
    )
  })

export const make = Effect.fnUntraced(function* (
  prefix: string
): Effect.fn.Return<Book, SqlError | Migrator.MigrationError, SqlClient.SqlClient> {
  const sql = (yield* SqlClient.SqlClient).withoutTransforms()
  const jobs = sql(`${prefix}_jobs`)
  const demands = sql(`${prefix}_demands`)
  yield* Migrator.make({})({ loader: migrations(prefix), table: `${prefix}_stack_migrations` }).pipe(
    Effect.provideService(SqlClient.SqlClient, sql)
  )

  let isAway = false
  const onFailure = (error: { readonly message: string }) =>
    Effect.suspend(() => {
      if (isAway) return Effect.void
      isAway = true
      return Effect.logWarning(`The cluster's database does not answer: ${error.message}`)
    })
  const onSuccess = Effect.suspend(() => {
    if (!isAway) return Effect.void
    isAway = false
    return Effect.logInfo("The cluster's database answers again")
  })

  /** What is written must get written, however long the database is away. */
  const persistently = <A, R>(effect: Effect.Effect<A, SqlError, R>): Effect.Effect<A, never, R> =>
    effect.pipe(
      Effect.timeout(Duration.seconds(10)),
      Effect.tapError(onFailure),
      Effect.retry(Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")])),
      Effect.orDie,
      Effect.tap(onSuccess)
    )

  const is = ({ jobUuid, stackKey }: JobKey) => sql`stack_key = ${stackKey} AND job_uuid = ${jobUuid}`

  const strike = Effect.fnUntraced(function* (
    stackKey: string,
    jobUuids: ReadonlyArray<string>,
    onStruck: (entityId: string) => Effect.Effect<void>
  ) {
    if (jobUuids.length === 0) return
    const struck = yield* persistently(
      sql<{ readonly entity_id: string | null }>`
        DELETE FROM ${jobs} WHERE stack_key = ${stackKey} AND ${sql.in("job_uuid", jobUuids)} RETURNING entity_id`
    )
    yield* Effect.forEach(struck, ({ entity_id }) => (entity_id === null ? Effect.void : onStruck(entity_id)), {
      discard: true
    })
  })

  return {
    ledger: (stackKey, onStruck) => ({
      entries: persistently(
        sql<{ readonly job: string; readonly entity_id: string | null }>`
          SELECT job, entity_id FROM ${jobs} WHERE stack_key = ${stackKey} ORDER BY job_uuid`
      ).pipe(
        Effect.flatMap((rows) =>
          Effect.all(
            rows.map(({ entity_id, job }) =>
              Effect.map(decodeJob(job), (job) => ({ job, isStarted: entity_id !== null }))
            )
          )
        ),
        Effect.orDie
      ),
      enter: (batch) =>
        !Arr.isReadonlyArrayNonEmpty(batch)
          ? Effect.succeed(true)
          : sql`
              INSERT INTO ${jobs} ${sql.insert(Arr.map(batch, (job) => ({ stack_key: stackKey, job_uuid: job.id, job: encodeJob(job) })))}
              ON CONFLICT (stack_key, job_uuid) DO NOTHING`.pipe(
              Effect.as(true),
              Effect.tap(onSuccess),
              Effect.catch((error) => Effect.as(onFailure(error), false))
            ),
      // Nobody waits for it: a job that stays in the book a little longer harms nobody.
      strike: (jobUuids) => Effect.asVoid(Effect.forkDetach(strike(stackKey, jobUuids, onStruck)))
    }),
    place: (key, entityId) =>
      persistently(
        sql<{ readonly entity_id: string; readonly attempt: number }>`
          UPDATE ${jobs} SET
            attempt = CASE WHEN entity_id IS NULL THEN attempt + 1 ELSE attempt END,
            entity_id = COALESCE(entity_id, ${entityId})
          WHERE ${is(key)} RETURNING entity_id, attempt`
      ).pipe(
        Effect.flatMap(([placed]) =>
          placed === undefined
            ? Effect.die(new Error(`Job ${key.jobUuid} is not in the book`))
            : Effect.succeed({ entityId: placed.entity_id, attempt: placed.attempt })
        )
      ),
    displace: (key) =>
      Effect.asVoid(persistently(sql`UPDATE ${jobs} SET entity_id = NULL, owner = NULL WHERE ${is(key)}`)),
    owner: (key) =>
      Effect.map(
        persistently(sql<{ readonly owner: string | null }>`SELECT owner FROM ${jobs} WHERE ${is(key)}`),
        ([row]) => (row === undefined ? null : (row.owner ?? undefined))
      ),
    claim: (key, former, owner) =>
      Effect.map(
        persistently(sql<{ readonly owner: string }>`
          UPDATE ${jobs} SET owner = ${owner}
          WHERE ${is(key)} AND (owner = ${owner} OR owner IS NOT DISTINCT FROM ${former ?? null}) RETURNING owner`),
        (rows) => rows.length > 0
      ),
    demand: ({ stackKey, wanted }) =>
      Effect.andThen(
        sql`
          INSERT INTO ${demands} (stack_key, wanted, said_at) VALUES (${stackKey}, ${wanted}, now())
          ON CONFLICT (stack_key) DO UPDATE SET wanted = EXCLUDED.wanted, said_at = EXCLUDED.said_at`,
        sql<Demand>`
          SELECT stack_key AS "stackKey", wanted FROM ${demands}
          WHERE said_at > now() - interval '10 seconds' ORDER BY stack_key`
      )
  }
})
