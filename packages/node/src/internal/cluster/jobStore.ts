/** The `JobStore` of a queue's leader, in the database. */
import { JobStoreError, type Service } from "@stacksapi/core/JobStore"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Database } from "./database.ts"
import { entityType } from "./jobEntity.ts"
import { decodeJob, encodeJob } from "./ownership.ts"

/** How many jobs one statement removes. */
const maxBatch = 500

/**
 * Makes the job store of a queue's leader. It removes jobs in the background, in batches, and only while the process is the leader:
 * the next leader may have saved them again. It does not save outcomes: the database has the members' answers until the job is
 * removed.
 */
export const make = Effect.fnUntraced(function* (
  { jobs, messages, persistently, promptly, queues, replies, sql }: Database,
  stackKey: string,
  leader: string
): Effect.fn.Return<Service, never, Scope.Scope> {
  /** Jobs that are over and have to be removed. */
  const over = new Set<string>()
  const workLatch = yield* Latch.make(false)
  /** Serializes saves and removes, so that a job that is listed again is saved after it was removed. */
  const oneAtATime = yield* Semaphore.make(1)

  /** Also removes their messages and replies. */
  const remove = (jobUuids: Arr.NonEmptyReadonlyArray<string>) => sql`
    WITH removed AS (
      DELETE FROM ${jobs} WHERE stack_key = ${stackKey} AND ${sql.in("job_uuid", jobUuids)}
        AND EXISTS (SELECT 1 FROM ${queues} WHERE stack_key = ${stackKey} AND leader = ${leader})
      RETURNING member_id || '/' || stack_key || '/' || job_uuid AS entity_id
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
    if (over.size > 0) workLatch.openUnsafe()
  }
  yield* Effect.addFinalizer(() => removeSome)
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* workLatch.await
        // Jobs that end now join the batch.
        yield* Effect.sleep("50 millis")
        yield* removeSome
        if (over.size === 0) workLatch.closeUnsafe()
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
              // The database may have saved them all the same.
              removeLater(batch.map(({ id }) => id))
              return Effect.fail(new JobStoreError({ message: "The database does not respond" }))
            }
          )
        })
      )
    },
    remove: (_, jobUuids) => Effect.sync(() => removeLater(jobUuids))
  }
})
