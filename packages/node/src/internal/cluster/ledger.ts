/** A queue's part of the book, as its stack keeps it. */
import type { StackLedger } from "@stacksapi/core/StackLedger"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { decodeJob, encodeJob } from "./book.ts"
import type { Database } from "./database.ts"
import { entityType } from "./jobEntity.ts"

/** How many jobs are struck at once at most. */
const maxBatch = 500

/**
 * The ledger of one who leads a queue, until its scope closes. Jobs are struck in the background, one batch after the other, and
 * only as long as it leads: whoever leads next may have entered them again.
 */
export const make = Effect.fnUntraced(function* (
  { jobs, messages, persistently, promptly, queues, replies, sql }: Database,
  stackKey: string,
  leader: string
): Effect.fn.Return<StackLedger, never, Scope.Scope> {
  /** Over, and still in the book. */
  const over = new Set<string>()
  const work = yield* Latch.make(false)
  /** One at a time: a job that comes back is entered after it was struck. */
  const oneAtATime = yield* Semaphore.make(1)

  /** With what was sent of them, and answered. */
  const strike = (jobUuids: Arr.NonEmptyReadonlyArray<string>) => sql`
    WITH struck AS (
      DELETE FROM ${jobs} WHERE stack_key = ${stackKey} AND ${sql.in("job_uuid", jobUuids)}
        AND EXISTS (SELECT 1 FROM ${queues} WHERE stack_key = ${stackKey} AND leader = ${leader})
      RETURNING seat || '/' || stack_key || '/' || job_uuid AS entity_id
    ), sent AS (
      DELETE FROM ${messages} AS message USING struck
      WHERE message.entity_type = ${entityType} AND message.entity_id = struck.entity_id RETURNING message.id
    )
    DELETE FROM ${replies} AS reply USING sent WHERE reply.request_id = sent.id`

  const strikeSome = oneAtATime.withPermit(
    Effect.suspend(() => {
      const batch = Array.from(over).slice(0, maxBatch)
      if (!Arr.isReadonlyArrayNonEmpty(batch)) return Effect.void
      return Effect.map(promptly(strike(batch)), (done) => {
        if (done !== undefined) for (const jobUuid of batch) over.delete(jobUuid)
      })
    })
  )
  const strikeLater = (jobUuids: ReadonlyArray<string>) => {
    for (const jobUuid of jobUuids) over.add(jobUuid)
    if (over.size > 0) work.openUnsafe()
  }
  yield* Effect.addFinalizer(() => strikeSome)
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* work.await
        // Those that end now go along.
        yield* Effect.sleep("50 millis")
        yield* strikeSome
        if (over.size === 0) work.closeUnsafe()
      })
    )
  )

  return {
    entries: persistently(
      sql<{ readonly job: string; readonly isStarted: boolean }>`
        SELECT job, seat IS NOT NULL OR orphan AS "isStarted"
        FROM ${jobs} WHERE stack_key = ${stackKey} ORDER BY job_uuid`
    ).pipe(
      Effect.flatMap((rows) =>
        Effect.all(rows.map(({ isStarted, job }) => Effect.map(decodeJob(job), (job) => ({ job, isStarted }))))
      ),
      Effect.orDie
    ),
    enter: (batch) =>
      !Arr.isReadonlyArrayNonEmpty(batch)
        ? Effect.succeed(true)
        : oneAtATime.withPermit(
            Effect.suspend(() => {
              for (const { id } of batch) over.delete(id)
              const rows = Arr.map(batch, (job) => ({ stack_key: stackKey, job_uuid: job.id, job: encodeJob(job) }))
              return Effect.map(
                promptly(sql`INSERT INTO ${jobs} ${sql.insert(rows)} ON CONFLICT (stack_key, job_uuid) DO NOTHING`),
                (done) => {
                  // It may have been done all the same.
                  if (done === undefined) strikeLater(batch.map(({ id }) => id))
                  return done !== undefined
                }
              )
            })
          ),
    strike: (jobUuids) => Effect.sync(() => strikeLater(jobUuids))
  }
})
