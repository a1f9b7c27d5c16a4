/** The jobs of a queue that its leader has, saved in the database. */
import { JobStoreError, type Service } from "@stacksapi/core/JobStore"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { decodeJob, encodeJob } from "./book.ts"
import type { Database } from "./database.ts"
import { entityType } from "./jobEntity.ts"

/** How many jobs are removed at once at most. */
const maxBatch = 500

/**
 * The job store of a queue's leader, until its scope closes. Jobs are removed in the background, one batch after the other, and only
 * as long as the process leads: the next leader may have saved them again. Outcomes are not saved: the database keeps what the
 * processes answer until the job is removed.
 */
export const make = Effect.fnUntraced(function* (
  { jobs, messages, persistently, promptly, queues, replies, sql }: Database,
  stackKey: string,
  leader: string
): Effect.fn.Return<Service, never, Scope.Scope> {
  /** Over, and still in the book. */
  const over = new Set<string>()
  const work = yield* Latch.make(false)
  /** One at a time: a job that comes back is saved after it was removed. */
  const oneAtATime = yield* Semaphore.make(1)

  /** With what was sent of them, and answered. */
  const remove = (jobUuids: Arr.NonEmptyReadonlyArray<string>) => sql`
    WITH removed AS (
      DELETE FROM ${jobs} WHERE stack_key = ${stackKey} AND ${sql.in("job_uuid", jobUuids)}
        AND EXISTS (SELECT 1 FROM ${queues} WHERE stack_key = ${stackKey} AND leader = ${leader})
      RETURNING seat || '/' || stack_key || '/' || job_uuid AS entity_id
    ), sent AS (
      DELETE FROM ${messages} AS message USING removed
      WHERE message.entity_type = ${entityType} AND message.entity_id = removed.entity_id RETURNING message.id
    )
    DELETE FROM ${replies} AS reply USING sent WHERE reply.request_id = sent.id`

  const removeSome = oneAtATime.withPermit(
    Effect.suspend(() => {
      const batch = Array.from(over).slice(0, maxBatch)
      if (!Arr.isReadonlyArrayNonEmpty(batch)) return Effect.void
      return Effect.map(promptly(remove(batch)), (done) => {
        if (done !== undefined) for (const jobUuid of batch) over.delete(jobUuid)
      })
    })
  )
  const removeLater = (jobUuids: ReadonlyArray<string>) => {
    for (const jobUuid of jobUuids) over.add(jobUuid)
    if (over.size > 0) work.openUnsafe()
  }
  yield* Effect.addFinalizer(() => removeSome)
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* work.await
        // Those that end now go along.
        yield* Effect.sleep("50 millis")
        yield* removeSome
        if (over.size === 0) work.closeUnsafe()
      })
    )
  )

  return {
    load: () =>
      persistently(
        sql<{ readonly job: string }>`SELECT job FROM ${jobs} WHERE stack_key = ${stackKey} ORDER BY job_uuid`
      ).pipe(
        Effect.flatMap((rows) => Effect.all(rows.map(({ job }) => Effect.map(decodeJob(job), (job) => ({ job }))))),
        Effect.orDie
      ),
    save: (_, saved) => {
      const batch = saved.filter(({ outcome }) => outcome === undefined).map(({ job }) => job)
      if (!Arr.isReadonlyArrayNonEmpty(batch)) return Effect.void
      return oneAtATime.withPermit(
        Effect.suspend(() => {
          for (const { id } of batch) over.delete(id)
          const rows = Arr.map(batch, (job) => ({ stack_key: stackKey, job_uuid: job.id, job: encodeJob(job) }))
          return Effect.flatMap(
            promptly(sql`INSERT INTO ${jobs} ${sql.insert(rows)} ON CONFLICT (stack_key, job_uuid) DO NOTHING`),
            (done) => {
              if (done !== undefined) return Effect.void
              // It may have been done all the same.
              removeLater(batch.map(({ id }) => id))
              return Effect.fail(new JobStoreError({ message: "The database does not answer" }))
            }
          )
        })
      )
    },
    remove: (_, jobUuids) => Effect.sync(() => removeLater(jobUuids))
  }
})
