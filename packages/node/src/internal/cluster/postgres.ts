/** The cluster's storage in PostgreSQL. */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { StopReason } from "@stacksapi/core/JobRunner"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { MigrationError } from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment, Identifier } from "effect/sql/Statement"
import * as Hints from "./hints.ts"
import {
  decodeFinish,
  decodeJob,
  decodeOutcome,
  encodeFinish,
  encodeJob,
  encodeOutcome,
  type Outcome
} from "./outcome.ts"
import { namesOf, prepare } from "./schema.ts"
import { type Member, type Phase, type QueueRow, type Storage, StorageError, type Term } from "./storage.ts"

/** What the statements share. */
interface Tables {
  readonly sql: SqlClient.SqlClient
  readonly members: Identifier
  readonly leaders: Identifier
  readonly jobs: Identifier
  /** The next dispatch number. */
  readonly nextDispatch: Fragment
  /** When a lease that is renewed now expires. */
  readonly expiresAt: Fragment
  readonly channel: string
}

/** In seconds. Long enough to reserve jobs in it, and short for a queue that waits for its turn. */
const turnLength = 10

/** How long to wait for a connection beside the listener's. */
const secondConnectionTimeout = "2500 millis"

/** Creates the tables. */
export const make = Effect.fnUntraced(function* (
  prefix: string,
  expiration: Duration.Duration
): Effect.fn.Return<Storage, SqlError | MigrationError | InvalidOptions, SqlClient.SqlClient> {
  const client = yield* SqlClient.SqlClient
  const sql = client.withoutTransforms()
  yield* Effect.provideService(prepare(prefix), SqlClient.SqlClient, sql)
  const names = namesOf(prefix)
  const tables: Tables = {
    sql,
    members: sql(names.members),
    leaders: sql(names.leaders),
    jobs: sql(names.jobs),
    nextDispatch: sql.literal(`nextval('"${names.dispatches}"')`),
    expiresAt: sql.literal(`now() + interval '${Duration.toMillis(expiration)} milliseconds'`),
    channel: names.channel
  }
  const postgres = Context.getOrUndefined(yield* Effect.context<never>(), PgClient.PgClient)
  return {
    ...membership(tables),
    ...leadership(tables),
    ...savedJobs(tables),
    ...dispatchedJobs(tables),
    ...ownJobs(tables),
    ...rest(tables, postgres)
  }
})

// -----------------------------------------------------------------------------
// Statements
// -----------------------------------------------------------------------------

const run = <A, E extends Error, R>(statement: Effect.Effect<A, E, R>): Effect.Effect<A, StorageError, R> =>
  Effect.mapError(statement, (error) => new StorageError({ message: rootOf(error).message, cause: error }))

/** What PostgreSQL or the system said. */
const rootOf = (error: Error): Error => (error.cause instanceof Error ? rootOf(error.cause) : error)

/** Rows as one parameter, so that a statement is the same for any number of them. */
const json = ({ sql }: Tables, rows: unknown): Fragment => sql`${JSON.stringify(rows)}::text::jsonb`

const notify = ({ channel, sql }: Tables, hint: Hints.Hint): Fragment =>
  sql`pg_notify(${channel}, ${Hints.encode(hint)})`

/** One row if the term is not over. It can't end before the statement does. */
const led = ({ leaders, sql }: Tables, { fence, memberId, stackKey }: Term): Fragment => sql`
  led AS (SELECT 1 FROM ${leaders} WHERE stack_key = ${stackKey} AND leader = ${memberId} AND fence = ${fence} FOR SHARE)`

const membership = (tables: Tables): Pick<Storage, "join" | "heartbeat" | "leave" | "deleteExpired" | "snapshot"> => {
  const { expiresAt, jobs, leaders, members, sql } = tables
  const lookAround = notify(tables, Hints.Hint.Look({ memberId: undefined }))
  return {
    join: ({ clusterKey, name, slots, stackKeys }) =>
      run(
        Effect.gen(function* () {
          const keys = json(tables, stackKeys)
          // In the order of their keys, so that two processes can't wait for each other.
          yield* sql`
            INSERT INTO ${leaders} (stack_key, listed_at)
            SELECT key, now() FROM jsonb_array_elements_text(${keys}) AS keys (key) ORDER BY key
            ON CONFLICT (stack_key) DO UPDATE SET listed_at = now()`
          const [row] = yield* sql<{ readonly memberId: number }>`
            WITH joined AS (
              INSERT INTO ${members} (cluster_key, name, slots, free, phase, stack_keys, demands, beat, until)
              SELECT ${clusterKey}, ${name}, ${slots}::int, ${slots}::int, 'open', ${keys}, '{}', now(), ${expiresAt}
              WHERE NOT EXISTS (SELECT 1 FROM ${members} WHERE cluster_key <> ${clusterKey} AND until > now())
              RETURNING id
            )
            SELECT id AS "memberId", ${lookAround} FROM joined`
          if (row !== undefined) return { memberId: row.memberId }
          const [foreign] = yield* sql<{ readonly key: string }>`
            SELECT cluster_key AS key FROM ${members} WHERE cluster_key <> ${clusterKey} LIMIT 1`
          return { foreignKey: foreign?.key ?? "" }
        })
      ),
    heartbeat: (memberId, { demands, free, phase }) =>
      Effect.map(
        run(sql`
          UPDATE ${members} SET
            free = ${free}::int, phase = ${phase}, demands = ${json(tables, demands)}, beat = now(), until = ${expiresAt}
          WHERE id = ${memberId}::int RETURNING id`),
        (rows) => rows.length > 0
      ),
    leave: (memberId) =>
      Effect.asVoid(
        run(sql`
          WITH gone AS (DELETE FROM ${members} WHERE id = ${memberId}::int RETURNING id) SELECT ${lookAround} FROM gone`)
      ),
    // A member that is renewed meanwhile stays: its row is looked at again before it is removed.
    deleteExpired: Effect.asVoid(
      run(sql`WITH dead AS (DELETE FROM ${members} WHERE until <= now() RETURNING id) SELECT ${lookAround} FROM dead`)
    ),
    snapshot: (memberId) =>
      Effect.map(
        run(sql<{
          readonly members: ReadonlyArray<Member>
          readonly queues: ReadonlyArray<QueueRow>
          readonly owned: ReadonlyArray<{ readonly dispatch: number; readonly stop: StopReason | null }>
          readonly turn: number
        }>`
          SELECT
            (SELECT coalesce(json_agg(json_build_object(
              'id', id, 'name', name, 'slots', slots, 'free', free, 'phase', phase, 'stackKeys', stack_keys, 'demands', demands,
              'silentMillis', extract(epoch FROM now() - beat) * 1000, 'expiresInMillis', extract(epoch FROM until - now()) * 1000
            ) ORDER BY id), '[]') FROM ${members}) AS members,
            (SELECT coalesce(json_agg(json_build_object('stackKey', stack_key, 'leader', leader, 'fence', fence)
              ORDER BY stack_key), '[]') FROM ${leaders}) AS queues,
            (SELECT coalesce(json_agg(json_build_object('dispatch', dispatch, 'stop', stop)), '[]')
              FROM ${jobs} WHERE owner = ${memberId}::int AND phase = 'running') AS owned,
            floor(extract(epoch FROM now()) / ${turnLength}::int)::int AS turn`),
        ([row]) => row ?? { members: [], queues: [], owned: [], turn: 0 }
      )
  }
}

const leadership = (tables: Tables): Pick<Storage, "take" | "resign"> => {
  const { leaders, members, sql } = tables
  return {
    take: (memberId, stackKeys) =>
      Effect.map(
        run(sql<{ readonly stackKey: string; readonly fence: number; readonly leaderlessMillis: number | null }>`
          WITH free AS (
            SELECT stack_key, CASE WHEN fence = 0 THEN 1e9 ELSE extract(epoch FROM now() - freed_at) * 1000 END AS free_for
            FROM ${leaders}
            WHERE leader IS NULL AND stack_key IN (SELECT jsonb_array_elements_text(${json(tables, stackKeys)}))
              AND EXISTS (SELECT 1 FROM ${members} WHERE id = ${memberId}::int)
            ORDER BY stack_key FOR UPDATE
          )
          UPDATE ${leaders} AS queue SET leader = ${memberId}::int, fence = fence + 1, freed_at = NULL
          FROM free WHERE queue.stack_key = free.stack_key
          RETURNING queue.stack_key AS "stackKey", queue.fence, free.free_for::float8 AS "leaderlessMillis"`),
        (rows) => rows.map((row) => ({ ...row, leaderlessMillis: row.leaderlessMillis ?? undefined }))
      ),
    resign: ({ fence, memberId, stackKey }) =>
      Effect.asVoid(
        run(sql`
          WITH freed AS (
            UPDATE ${leaders} SET leader = NULL, freed_at = now()
            WHERE stack_key = ${stackKey} AND leader = ${memberId}::int AND fence = ${fence}::int RETURNING 1
          )
          SELECT ${notify(tables, Hints.Hint.Look({ memberId: undefined }))} FROM freed`)
      )
  }
}

const orUndefined = <A>(text: string | null, decode: (text: string) => Effect.Effect<A>) =>
  text === null ? Effect.undefined : decode(text)

/** The rows whose jobs can be read. */
const forEachReadable = <Row, A extends { readonly job: ScheduledJob | undefined }>(
  rows: ReadonlyArray<Row>,
  read: (row: Row) => Effect.Effect<A>
) =>
  Effect.map(Effect.forEach(rows, read), (read) =>
    read.flatMap(({ job, ...row }) => (job === undefined ? [] : [{ ...row, job }]))
  )

const savedJobs = (tables: Tables): Pick<Storage, "load" | "save" | "remove"> => {
  const { channel, jobs, sql } = tables
  return {
    load: (term) =>
      run(
        sql<{
          readonly id: number
          readonly job: string
          readonly phase: Phase
          readonly outcome: string | null
          readonly finish: string | null
        }>`
          WITH ${led(tables, term)}
          SELECT id::float8 AS id, job, phase, outcome, finish FROM ${jobs}, led
          WHERE stack_key = ${term.stackKey} ORDER BY job_uuid`
      ).pipe(
        Effect.flatMap((rows) =>
          forEachReadable(rows, ({ finish, id, job, outcome, phase }) =>
            Effect.all({
              id: Effect.succeed(id),
              phase: Effect.succeed(phase),
              job: decodeJob(job),
              outcome: orUndefined(outcome, decodeOutcome),
              finish: orUndefined(finish, decodeFinish)
            })
          )
        )
      ),
    save: (term, saved) =>
      Effect.map(
        run(sql<{ readonly jobUuid: string | null; readonly id: number | null }>`
          WITH ${led(tables, term)}, saved AS (
            INSERT INTO ${jobs} (stack_key, job_uuid, job, finish, phase)
            SELECT ${term.stackKey}, entry.job_uuid, entry.job, entry.finish, 'saved'
            FROM led, jsonb_to_recordset(${json(
              tables,
              saved.map(({ finish, job }) => ({
                job_uuid: job.id,
                job: encodeJob(job),
                finish: finish === undefined ? null : encodeFinish(finish)
              }))
            )}) AS entry (job_uuid text, job text, finish text)
            ON CONFLICT (stack_key, job_uuid) DO UPDATE SET finish = coalesce(EXCLUDED.finish, ${jobs}.finish)
            RETURNING job_uuid, id
          )
          SELECT saved.job_uuid AS "jobUuid", saved.id::float8 AS id FROM led LEFT JOIN saved ON true`),
        (rows) =>
          rows.length === 0
            ? undefined
            : new Map(
                rows.flatMap(({ id, jobUuid }) => (id === null || jobUuid === null ? [] : [[jobUuid, id] as const]))
              )
      ),
    // Whoever runs one of them has to stop.
    remove: (term, removed) =>
      Effect.asVoid(
        run(sql`
          WITH ${led(tables, term)}, removed AS (
            DELETE FROM ${jobs} AS job USING led, jsonb_to_recordset(${json(
              tables,
              removed.map(({ id, jobUuid }) => ({ job_uuid: jobUuid, id: id ?? null }))
            )}) AS entry (job_uuid text, id bigint)
            WHERE stack_key = ${term.stackKey} AND job.job_uuid = entry.job_uuid
              AND (job.id = entry.id OR (entry.id IS NULL AND phase = 'saved'))
            RETURNING phase, owner
          ), owners AS (SELECT DISTINCT owner FROM removed WHERE phase = 'running' AND owner IS NOT NULL)
          SELECT pg_notify(${channel}, 'look ' || owner) FROM owners`)
      )
  }
}

const dispatchedJobs = (tables: Tables): Pick<Storage, "offer" | "requestStop" | "ended"> => {
  const { channel, jobs, leaders, nextDispatch, sql } = tables
  return {
    offer: (term, offered, hint) =>
      Effect.map(
        run(sql<{ readonly jobUuid: string; readonly isNew: boolean }>`
          WITH ${led(tables, term)}, entries AS (
            SELECT * FROM jsonb_to_recordset(${json(
              tables,
              offered.map(({ after, jobUuid }) => ({ job_uuid: jobUuid, after }))
            )}) AS entry (job_uuid text, after bigint)
          ), offered AS (
            UPDATE ${jobs} AS job SET
              phase = 'ready', dispatch = ${nextDispatch}, owner = NULL, stop = NULL, outcome = NULL, finish = NULL
            FROM led, entries
            WHERE stack_key = ${term.stackKey} AND job.job_uuid = entries.job_uuid
              AND (phase = 'saved' OR (dispatch = entries.after AND (phase = 'ended' OR (phase = 'running' AND owner IS NULL))))
            RETURNING job.job_uuid
          ), hinted AS (SELECT ${notify(tables, hint)} FROM offered LIMIT 1)
          SELECT entries.job_uuid AS "jobUuid", offered.job_uuid IS NOT NULL AS "isNew", (SELECT count(*) FROM hinted) AS hints
          FROM led CROSS JOIN entries JOIN ${jobs} AS job ON job.stack_key = ${term.stackKey} AND job.job_uuid = entries.job_uuid
          LEFT JOIN offered ON offered.job_uuid = entries.job_uuid`),
        (rows) => new Map(rows.map(({ isNew, jobUuid }) => [jobUuid, { isNew }]))
      ),
    requestStop: (term, jobUuid, reason) =>
      Effect.asVoid(
        run(sql`
          WITH ${led(tables, term)}, stopped AS (
            UPDATE ${jobs} SET stop = ${reason} FROM led
            WHERE stack_key = ${term.stackKey} AND job_uuid = ${jobUuid} AND phase = 'running' AND owner IS NOT NULL
            RETURNING owner
          )
          SELECT pg_notify(${channel}, 'look ' || owner) FROM stopped`)
      ),
    ended: (memberId) =>
      run(sql<{
        readonly stackKey: string
        readonly jobUuid: string
        readonly dispatch: number
        readonly owner: number | null
        readonly outcome: string | null
      }>`
        SELECT stack_key AS "stackKey", job_uuid AS "jobUuid", dispatch::float8 AS dispatch, owner, outcome
        FROM ${jobs} JOIN ${leaders} USING (stack_key)
        WHERE leader = ${memberId}::int AND (phase = 'ended' OR (phase = 'running' AND owner IS NULL))`).pipe(
        Effect.flatMap((rows) =>
          Effect.forEach(rows, (row) =>
            Effect.map(orUndefined(row.outcome, decodeOutcome), (outcome) => ({ ...row, outcome }))
          )
        )
      )
  }
}

const ownJobs = (tables: Tables): Pick<Storage, "claim" | "end" | "giveBack"> => {
  const { channel, jobs, leaders, members, nextDispatch, sql } = tables
  const endedRows = (ended: ReadonlyArray<{ readonly dispatch: number; readonly outcome: Outcome | undefined }>) =>
    json(
      tables,
      ended.map(({ dispatch, outcome }) => ({
        dispatch,
        outcome: outcome === undefined ? null : encodeOutcome(outcome)
      }))
    )
  return {
    claim: (memberId, stackKeys, limit, share) =>
      run(sql<{ readonly stackKey: string; readonly dispatch: number; readonly job: string }>`
        WITH mine AS (
          SELECT value AS stack_key FROM jsonb_array_elements_text(${json(tables, stackKeys)})
          WHERE EXISTS (SELECT 1 FROM ${members} WHERE id = ${memberId}::int AND phase = 'open')
        ), picked AS (
          SELECT stack_key, job_uuid FROM ${jobs}
          WHERE phase = 'ready' AND stack_key IN (SELECT stack_key FROM mine)
          ORDER BY dispatch
          LIMIT least(${limit}::int, ceil((SELECT count(*) FROM ${jobs} WHERE phase = 'ready') * ${share}::float8)::int)
          FOR UPDATE SKIP LOCKED
        )
        UPDATE ${jobs} AS job SET phase = 'running', owner = ${memberId}::int FROM picked
        WHERE job.stack_key = picked.stack_key AND job.job_uuid = picked.job_uuid
        RETURNING job.stack_key AS "stackKey", dispatch::float8 AS dispatch, job`).pipe(
        Effect.flatMap((rows) =>
          forEachReadable(rows, (row) => Effect.map(decodeJob(row.job), (job) => ({ ...row, job })))
        )
      ),
    end: (memberId, ended) =>
      Effect.map(
        run(sql<{ readonly isReady: boolean }>`
          WITH ended AS (
            UPDATE ${jobs} AS job SET
              phase = CASE WHEN entry.outcome IS NULL THEN phase ELSE 'ended' END, outcome = entry.outcome,
              owner = CASE WHEN entry.outcome IS NULL THEN NULL ELSE owner END
            FROM jsonb_to_recordset(${endedRows(ended)}) AS entry (dispatch bigint, outcome text)
            WHERE job.owner = ${memberId}::int AND job.dispatch = entry.dispatch AND phase = 'running'
            RETURNING stack_key
          ), told AS (
            SELECT DISTINCT leader FROM ${leaders} JOIN ended USING (stack_key) WHERE leader IS NOT NULL
          ), hinted AS (SELECT pg_notify(${channel}, 'ended ' || leader) FROM told)
          SELECT EXISTS (SELECT 1 FROM ${jobs} WHERE phase = 'ready') AS "isReady", (SELECT count(*) FROM hinted) AS hints`),
        ([row]) => row?.isReady === true
      ),
    // With another dispatch number: the member may claim it again, and this statement may take effect late.
    giveBack: (memberId, dispatches) =>
      Effect.asVoid(
        run(sql`
          WITH given AS (
            UPDATE ${jobs} SET phase = 'ready', owner = NULL, stop = NULL, dispatch = ${nextDispatch}
            WHERE owner = ${memberId}::int AND phase = 'running'
              AND dispatch IN (SELECT value::bigint FROM jsonb_array_elements_text(${json(tables, dispatches)}))
            RETURNING 1
          )
          SELECT ${notify(tables, Hints.Hint.Look({ memberId: undefined }))} FROM given LIMIT 1`)
      )
  }
}

const rest = (
  tables: Tables,
  postgres: PgClient.PgClient | undefined
): Pick<Storage, "listen" | "notify" | "collectGarbage"> => {
  const { channel, leaders, members, sql } = tables
  return {
    listen: (onHint) =>
      postgres === undefined
        ? Effect.never
        : Effect.gen(function* () {
            const queue = yield* postgres.listen(channel)
            // The listener keeps a connection for itself, and must not take the only one.
            yield* Effect.timeout(sql`SELECT 1`, secondConnectionTimeout)
            while (true) onHint(Hints.decode((yield* Queue.take(queue)).payload))
          }).pipe(run),
    notify: (hint) => Effect.asVoid(run(sql`SELECT ${notify(tables, hint)}`)),
    // Their jobs go with them.
    collectGarbage: run(
      Effect.gen(function* () {
        yield* sql`
          UPDATE ${leaders} SET listed_at = now()
          WHERE stack_key IN (SELECT jsonb_array_elements_text(stack_keys) FROM ${members})`
        yield* sql`DELETE FROM ${leaders} WHERE leader IS NULL AND listed_at < now() - interval '1 day'`
      })
    )
  }
}
