/** The statements of leaders about the jobs of their queues. */
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Effect from "effect/Effect"
import { decodeFinish, decodeJob, decodeOutcome, encodeFinish, encodeJob } from "./outcome.ts"
import { json, lockedTermOf, notify, run, type Tables, termOf } from "./postgresStatements.ts"
import type { Phase, Storage } from "./storage.ts"

const orUndefined = <A>(text: string | null, decode: (text: string) => Effect.Effect<A>) =>
  text === null ? Effect.undefined : decode(text)

/** The rows whose jobs can be read. */
export const forEachReadable = <Row, A extends { readonly job: ScheduledJob | undefined }>(
  rows: ReadonlyArray<Row>,
  read: (row: Row) => Effect.Effect<A>
) =>
  Effect.map(Effect.forEach(rows, read), (read) =>
    read.flatMap(({ job, ...row }) => (job === undefined ? [] : [{ ...row, job }]))
  )

export const savedJobs = (tables: Tables): Pick<Storage, "load" | "save" | "remove"> => {
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
          WITH ${termOf(tables, term)}
          SELECT id::float8 AS id, job, phase, outcome, finish FROM ${jobs}, term
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
          WITH ${lockedTermOf(tables, term)}, saved AS (
            INSERT INTO ${jobs} (stack_key, job_uuid, job, finish, phase)
            SELECT ${term.stackKey}, entry.job_uuid, entry.job, entry.finish, 'saved'
            FROM term, jsonb_to_recordset(${json(
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
          SELECT saved.job_uuid AS "jobUuid", saved.id::float8 AS id FROM term LEFT JOIN saved ON true`),
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
          WITH ${lockedTermOf(tables, term)}, removed AS (
            DELETE FROM ${jobs} AS job USING term, jsonb_to_recordset(${json(
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

export const dispatchedJobs = (tables: Tables): Pick<Storage, "offer" | "requestStop" | "ended"> => {
  const { channel, jobs, leaders, nextDispatch, sql } = tables
  return {
    offer: (term, offered, hint) =>
      Effect.map(
        run(sql<{ readonly jobUuid: string; readonly isNew: boolean }>`
          WITH ${lockedTermOf(tables, term)}, entries AS (
            SELECT * FROM jsonb_to_recordset(${json(
              tables,
              offered.map(({ after, jobUuid }) => ({ job_uuid: jobUuid, after }))
            )}) AS entry (job_uuid text, after bigint)
          ), offered AS (
            UPDATE ${jobs} AS job SET
              phase = 'ready', dispatch = ${nextDispatch}, owner = NULL, stop = NULL, outcome = NULL, finish = NULL
            FROM term, entries
            WHERE stack_key = ${term.stackKey} AND job.job_uuid = entries.job_uuid
              AND (phase = 'saved' OR (dispatch = entries.after AND (phase = 'ended' OR (phase = 'running' AND owner IS NULL))))
            RETURNING job.job_uuid
          ), hinted AS (SELECT ${notify(tables, hint)} FROM offered LIMIT 1)
          SELECT entries.job_uuid AS "jobUuid", offered.job_uuid IS NOT NULL AS "isNew", (SELECT count(*) FROM hinted) AS hints
          FROM term CROSS JOIN entries JOIN ${jobs} AS job ON job.stack_key = ${term.stackKey} AND job.job_uuid = entries.job_uuid
          LEFT JOIN offered ON offered.job_uuid = entries.job_uuid`),
        (rows) => new Map(rows.map(({ isNew, jobUuid }) => [jobUuid, { isNew }]))
      ),
    requestStop: (term, { dispatch, id, jobUuid }, reason) =>
      Effect.map(
        run(sql<{ readonly dispatch: number; readonly isTold: boolean }>`
          WITH ${lockedTermOf(tables, term)}, running AS (
            SELECT job_uuid, id, dispatch FROM ${jobs}, term
            WHERE stack_key = ${term.stackKey} AND job_uuid = ${jobUuid} AND id = ${id}::bigint
              AND phase = 'running' AND owner IS NOT NULL
          ), told AS (
            UPDATE ${jobs} AS job SET stop = ${reason} FROM running
            WHERE stack_key = ${term.stackKey} AND job.job_uuid = running.job_uuid AND job.id = running.id
              AND job.dispatch = ${dispatch}::bigint AND job.phase = 'running' AND job.owner IS NOT NULL
            RETURNING job.owner
          ), hinted AS (SELECT pg_notify(${channel}, 'look ' || owner) FROM told)
          SELECT dispatch::float8 AS dispatch, EXISTS (SELECT 1 FROM told) AS "isTold", (SELECT count(*) FROM hinted) AS hints
          FROM running`),
        ([running]) => (running === undefined ? undefined : { dispatch: running.dispatch, isTold: running.isTold })
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
