/** The statements of a process about the jobs that it claims and runs. */
import * as Effect from "effect/Effect"
import * as Hints from "./hints.ts"
import { decodeJob, encodeOutcome, type Outcome } from "./outcome.ts"
import { forEachReadable } from "./postgresQueueJobs.ts"
import { json, notify, run, type Tables } from "./postgresStatements.ts"
import type { Storage } from "./storage.ts"

export const ownJobs = (tables: Tables): Pick<Storage, "claim" | "end" | "giveBack"> => {
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
