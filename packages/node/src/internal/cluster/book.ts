/**
 * The jobs that a cluster has: which are its, where each was sent, and which process has started it. Who wants to change that
 * says how it was when he looked: one who is late changes nothing.
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

/** Where a job was sent, and by which of its tickets: each time it is sent anew it gets another one. */
export interface Placement {
  readonly seat: number
  readonly ticket: number
}

/**
 * How it is with a job: nobody has started it, a process has it, or a process had it and died. Undefined where it is not in the
 * book, or was sent elsewhere.
 */
type Standing = "waiting" | "owned" | "orphaned" | undefined

/** A job that a process has got. */
export interface Claimed {
  /** Whether another one may have begun it, and died. */
  readonly isOrphan: boolean
  /** The answer that this other one has kept. */
  readonly answer: Answer | undefined
}

export interface Book {
  /** Notes where a job is sent. Where it has been sent already, tells that instead, with the answer that was kept. */
  readonly place: (
    job: StacksSchema.ScheduledJob,
    stackKey: string,
    seat: number
  ) => Effect.Effect<Placement & { readonly answer: Answer | undefined }>
  readonly look: (key: JobKey, ticket: number) => Effect.Effect<Standing>
  /**
   * Makes a process the owner of a job that has none, or a dead one. Tells how it was; undefined where it may not be run, and
   * `dead` where the process itself counts as dead: that may have become so before the database got to it.
   */
  readonly claim: (key: JobKey, ticket: number, owner: string) => Effect.Effect<Claimed | "dead" | undefined>
  /** Gives a job back that a process has claimed, or may have, and not begun. */
  readonly release: (key: JobKey, ticket: number, owner: string) => Effect.Effect<void>
  /** Keeps the answer of a process to a job of its own, which nobody else may have got. */
  readonly keep: (key: JobKey, ticket: number, owner: string, answer: Answer) => Effect.Effect<void>
  /** Lets a job be sent anew whose runner asked for that. */
  readonly requeue: (key: JobKey, placement: Placement) => Effect.Effect<void>
  /** Lets a job be sent anew that was not started where it was sent. Says whether it is so. */
  readonly withdraw: (key: JobKey, placement: Placement) => Effect.Effect<boolean>
  /** Lets a job be sent anew that has no answer, and whose seat nobody has any more. Says whether it is so. */
  readonly inherit: (key: JobKey, placement: Placement) => Effect.Effect<boolean>
  /** The jobs that a process has started and that are not over. */
  readonly owned: (owner: string) => Effect.Effect<ReadonlyArray<JobKey & { readonly ticket: number }>, SqlError>
}

const JobJson = Schema.fromJsonString(StacksSchema.ScheduledJob)
export const encodeJob = Schema.encodeSync(JobJson)
export const decodeJob = Schema.decodeUnknownEffect(JobJson)

export const make = ({
  jobs,
  messages,
  newTicket,
  persistently,
  processes,
  promptly,
  replies,
  sql
}: Database): Book => {
  const is = ({ jobUuid, stackKey }: JobKey) => sql`stack_key = ${stackKey} AND job_uuid = ${jobUuid}`
  const isAlive = (owner: Fragment) =>
    sql`EXISTS (SELECT 1 FROM ${processes} WHERE process_id = ${owner} AND until > now())`
  const standing = (job: Fragment) => sql`
    CASE WHEN ${job}.orphan THEN 'orphaned' WHEN ${job}.owner IS NULL THEN 'waiting' ELSE 'owned' END AS standing`

  const answerIn = (json: string | null) => (json === null ? Effect.undefined : decodeAnswer(json))

  /** What was sent to the former place is of no use any more. */
  const displace = (
    key: JobKey,
    { seat, ticket }: Placement,
    condition: Fragment,
    orphan = sql`orphan OR owner IS NOT NULL`,
    answer = sql`answer`
  ) =>
    Effect.map(
      persistently(sql`
        WITH displaced AS (
          UPDATE ${jobs} AS job SET seat = NULL, ticket = ${newTicket}, owner = NULL, orphan = ${orphan},
            answer = ${answer}
          WHERE ${is(key)} AND ticket = ${ticket} AND seat = ${seat} AND ${condition}
          RETURNING 1
        ), sent AS (
          DELETE FROM ${messages} USING displaced
          WHERE entity_type = ${entityType} AND entity_id = ${entityIdOf(key, seat)} RETURNING id
        ), answered AS (
          DELETE FROM ${replies} USING sent WHERE request_id = sent.id
        )
        SELECT 1 FROM displaced`),
      (rows) => rows.length > 0
    )

  return {
    place: (job, stackKey, seat) =>
      persistently(
        sql<Placement & { readonly answer: string | null }>`
          INSERT INTO ${jobs} (stack_key, job_uuid, job, seat)
          VALUES (${stackKey}, ${job.id}, ${encodeJob(job)}, ${seat})
          ON CONFLICT (stack_key, job_uuid) DO UPDATE SET seat = COALESCE(${jobs}.seat, EXCLUDED.seat)
          RETURNING seat, ticket, answer`
      ).pipe(
        Effect.flatMap(([placement]) => Effect.fromNullishOr(placement)),
        Effect.flatMap(({ answer, ...placement }) =>
          Effect.map(answerIn(answer), (answer) => ({ ...placement, answer }))
        ),
        Effect.orDie
      ),
    look: (key, ticket) =>
      Effect.map(
        persistently(sql<{ readonly standing: NonNullable<Standing> }>`
          SELECT ${standing(sql`job`)} FROM ${jobs} AS job WHERE ${is(key)} AND ticket = ${ticket}`),
        ([row]) => row?.standing
      ),
    claim: (key, ticket, owner) =>
      Effect.gen(function* () {
        const [row] = yield* persistently(
          sql<{ readonly isDead: boolean; readonly isOrphan: boolean; readonly answer: string | null }>`
            WITH former AS (
              SELECT owner FROM ${jobs} WHERE ${is(key)} AND ticket = ${ticket} FOR UPDATE
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
    // Whoever leaves can't wait for a database that is away.
    release: (key, ticket, owner) =>
      Effect.asVoid(
        promptly(sql`
          UPDATE ${jobs} SET owner = NULL
          WHERE ${is(key)} AND ticket = ${ticket} AND owner = ${owner}`)
      ),
    keep: (key, ticket, owner, answer) =>
      Effect.asVoid(
        promptly(sql`
          UPDATE ${jobs} SET answer = ${encodeAnswer(answer)}
          WHERE ${is(key)} AND ticket = ${ticket} AND owner = ${owner}`)
      ),
    requeue: (key, placement) => Effect.asVoid(displace(key, placement, sql`TRUE`, sql`FALSE`, sql`NULL`)),
    withdraw: (key, placement) => displace(key, placement, sql`(owner IS NULL OR NOT ${isAlive(sql`owner`)})`),
    inherit: (key, placement) =>
      displace(
        key,
        placement,
        sql`
          NOT EXISTS (SELECT 1 FROM ${processes} AS process WHERE process.seat = job.seat AND until > now())
          AND NOT EXISTS (
            SELECT 1 FROM ${messages}
            WHERE entity_type = ${entityType} AND entity_id = ${entityIdOf(key, placement.seat)} AND processed
          )`
      ),
    owned: (owner) =>
      sql<JobKey & { readonly ticket: number }>`
        SELECT stack_key AS "stackKey", job_uuid AS "jobUuid", ticket FROM ${jobs} WHERE owner = ${owner}`
  }
}
