/**
 * Job ownership: which jobs the cluster has, to which member each was dispatched, and which process has started it. Every change
 * names the state that it assumes, so a late change does nothing.
 */
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { Database } from "./database.ts"
import { type Answer, decodeAnswer, encodeAnswer, entityIdOf, entityType } from "./jobEntity.ts"

export interface JobKey {
  readonly stackKey: string
  readonly jobUuid: string
}

/** To which member a job was dispatched. Each dispatch of a job has its own id. */
export interface Assignment {
  readonly memberId: number
  readonly dispatchId: number
}

/**
 * `waiting`: no process has started the job. `owned`: a process has. `orphaned`: a process had, and died. Undefined if the job is
 * unknown or was dispatched again.
 */
type OwnershipState = "waiting" | "owned" | "orphaned" | undefined

/** A job that a process has claimed. */
export interface Claimed {
  /** Whether a process that died may have started it. */
  readonly isOrphan: boolean
  /** The answer that the previous owner saved. */
  readonly answer: Answer | undefined
}

export interface Ownership {
  /** Records the member that a job is dispatched to. If it is dispatched already, returns that, with the saved answer. */
  readonly assign: (
    job: StacksSchema.ScheduledJob,
    stackKey: string,
    memberId: number
  ) => Effect.Effect<Assignment & { readonly answer: Answer | undefined }>
  readonly stateOf: (key: JobKey, dispatchId: number) => Effect.Effect<OwnershipState>
  /**
   * Makes a process the owner of a job that has no live owner. Undefined if the process may not run the job; `dead` if the process
   * itself counts as dead, because its lease expired before the database handled the request.
   */
  readonly claim: (key: JobKey, dispatchId: number, owner: string) => Effect.Effect<Claimed | "dead" | undefined>
  /** Gives up a job that a process has claimed, or may have, and did not start. */
  readonly release: (key: JobKey, dispatchId: number, owner: string) => Effect.Effect<void>
  /** Saves the answer for a job of this process that could not be sent. */
  readonly saveAnswer: (key: JobKey, dispatchId: number, owner: string, answer: Answer) => Effect.Effect<void>
  /** Clears the assignment of a job whose runner failed with a retryable error, so that it is dispatched again. */
  readonly retry: (key: JobKey, assignment: Assignment) => Effect.Effect<void>
  /** Clears the assignment of a job that its member has not started. Returns whether it did. */
  readonly requeue: (key: JobKey, assignment: Assignment) => Effect.Effect<boolean>
  /** Clears the assignment of a job without an answer whose member is dead. Returns whether it did. */
  readonly reassign: (key: JobKey, assignment: Assignment) => Effect.Effect<boolean>
  /** The jobs that a process owns. */
  readonly owned: (owner: string) => Effect.Effect<ReadonlyArray<JobKey & { readonly dispatchId: number }>, SqlError>
}

const JobJson = Schema.fromJsonString(StacksSchema.ScheduledJob)
export const encodeJob = Schema.encodeSync(JobJson)
export const decodeJob = Schema.decodeUnknownEffect(JobJson)

export const make = ({
  jobs,
  messages,
  newDispatchId,
  persistently,
  processes,
  promptly,
  replies,
  sql
}: Database): Ownership => {
  const is = ({ jobUuid, stackKey }: JobKey) => sql`stack_key = ${stackKey} AND job_uuid = ${jobUuid}`
  const isAlive = (owner: Fragment) =>
    sql`EXISTS (SELECT 1 FROM ${processes} WHERE process_id = ${owner} AND until > now())`
  const ownershipState = (job: Fragment) => sql`
    CASE WHEN ${job}.orphan THEN 'orphaned' WHEN ${job}.owner IS NULL THEN 'waiting' ELSE 'owned' END AS state`

  const answerIn = (json: string | null) => (json === null ? Effect.undefined : decodeAnswer(json))

  /** Clears an assignment, and deletes the messages that were sent for it. */
  const unassign = (
    key: JobKey,
    { dispatchId, memberId }: Assignment,
    condition: Fragment,
    orphan = sql`orphan OR owner IS NOT NULL`,
    answer = sql`answer`
  ) =>
    Effect.map(
      persistently(sql`
        WITH unassigned AS (
          UPDATE ${jobs} AS job SET member_id = NULL, dispatch_id = ${newDispatchId}, owner = NULL, orphan = ${orphan},
            answer = ${answer}
          WHERE ${is(key)} AND dispatch_id = ${dispatchId} AND member_id = ${memberId} AND ${condition}
          RETURNING 1
        ), sent AS (
          DELETE FROM ${messages} USING unassigned
          WHERE entity_type = ${entityType} AND entity_id = ${entityIdOf(key, memberId)} RETURNING id
        ), answered AS (
          DELETE FROM ${replies} USING sent WHERE request_id = sent.id
        )
        SELECT 1 FROM unassigned`),
      (rows) => rows.length > 0
    )

  return {
    assign: (job, stackKey, memberId) =>
      persistently(
        sql<Assignment & { readonly answer: string | null }>`
          INSERT INTO ${jobs} (stack_key, job_uuid, job, member_id)
          VALUES (${stackKey}, ${job.id}, ${encodeJob(job)}, ${memberId})
          ON CONFLICT (stack_key, job_uuid) DO UPDATE SET member_id = COALESCE(${jobs}.member_id, EXCLUDED.member_id)
          RETURNING member_id AS "memberId", dispatch_id AS "dispatchId", answer`
      ).pipe(
        Effect.flatMap(([assignment]) => Effect.fromNullishOr(assignment)),
        Effect.flatMap(({ answer, ...assignment }) =>
          Effect.map(answerIn(answer), (answer) => ({ ...assignment, answer }))
        ),
        Effect.orDie
      ),
    stateOf: (key, dispatchId) =>
      Effect.map(
        persistently(sql<{ readonly state: NonNullable<OwnershipState> }>`
          SELECT ${ownershipState(sql`job`)} FROM ${jobs} AS job WHERE ${is(key)} AND dispatch_id = ${dispatchId}`),
        ([row]) => row?.state
      ),
    claim: (key, dispatchId, owner) =>
      Effect.gen(function* () {
        const [row] = yield* persistently(
          sql<{ readonly isDead: boolean; readonly isOrphan: boolean; readonly answer: string | null }>`
            WITH former AS (
              SELECT owner FROM ${jobs} WHERE ${is(key)} AND dispatch_id = ${dispatchId} FOR UPDATE
            ), claimed AS (
              UPDATE ${jobs} AS job SET
                owner = ${owner}, orphan = orphan OR (former.owner IS NOT NULL AND former.owner <> ${owner})
              FROM former
              WHERE ${is(key)} AND ${isAlive(sql`${owner}`)}
                AND (former.owner IS NULL OR former.owner = ${owner} OR NOT ${isAlive(sql`former.owner`)})
              RETURNING FALSE AS "isDead", orphan AS "isOrphan", answer
            )
            SELECT * FROM claimed UNION ALL SELECT TRUE, FALSE, NULL WHERE NOT ${isAlive(sql`${owner}`)}`
        )
        if (row === undefined) return undefined
        return row.isDead ? ("dead" as const) : { isOrphan: row.isOrphan, answer: yield* answerIn(row.answer) }
      }).pipe(Effect.orDie),
    // A process that stops can't wait for an unavailable database.
    release: (key, dispatchId, owner) =>
      Effect.asVoid(
        promptly(sql`
          UPDATE ${jobs} SET owner = NULL
          WHERE ${is(key)} AND dispatch_id = ${dispatchId} AND owner = ${owner}`)
      ),
    saveAnswer: (key, dispatchId, owner, answer) =>
      Effect.asVoid(
        promptly(sql`
          UPDATE ${jobs} SET answer = ${encodeAnswer(answer)}
          WHERE ${is(key)} AND dispatch_id = ${dispatchId} AND owner = ${owner}`)
      ),
    retry: (key, assignment) => Effect.asVoid(unassign(key, assignment, sql`TRUE`, sql`FALSE`, sql`NULL`)),
    requeue: (key, assignment) => unassign(key, assignment, sql`(owner IS NULL OR NOT ${isAlive(sql`owner`)})`),
    reassign: (key, assignment) =>
      unassign(
        key,
        assignment,
        sql`
          NOT EXISTS (SELECT 1 FROM ${processes} AS process WHERE process.member_id = job.member_id AND until > now())
          AND NOT EXISTS (
            SELECT 1 FROM ${messages}
            WHERE entity_type = ${entityType} AND entity_id = ${entityIdOf(key, assignment.memberId)} AND processed
          )`
      ),
    owned: (owner) =>
      sql<JobKey & { readonly dispatchId: number }>`
        SELECT stack_key AS "stackKey", job_uuid AS "jobUuid", dispatch_id AS "dispatchId" FROM ${jobs} WHERE owner = ${owner}`
  }
}
