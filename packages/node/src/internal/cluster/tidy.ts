/** Removes from the tables what nobody has use for any more: nothing else would, and they have to last for years. */
import * as Effect from "effect/Effect"
import type { Database } from "./database.ts"
import { entityType } from "./jobEntity.ts"

/**
 * What is left over:
 *
 * - seats of processes that have been dead for a day, and Effect's rows of them, which it removes when another one leaves in order;
 * - queues that nobody has led for a day, and their jobs: their reservations lapsed long ago;
 * - requests of jobs that are not in the book where they were sent, and answers without a request: of those that were
 *   withdrawn, or answered when the job was over.
 */
export const tidy = ({ jobs, messages, processes, queues, replies, runners, sql }: Database) =>
  Effect.gen(function* () {
    const longAgo = sql.literal("now() - interval '1 day'")
    yield* sql`DELETE FROM ${processes} WHERE until < ${longAgo}`
    yield* sql`DELETE FROM ${runners} WHERE last_heartbeat < ${longAgo}`
    yield* sql`DELETE FROM ${queues} WHERE until < ${longAgo}`
    yield* sql`
      DELETE FROM ${jobs} AS job
      WHERE NOT EXISTS (SELECT 1 FROM ${queues} AS queue WHERE queue.stack_key = job.stack_key)`
    yield* sql`
      DELETE FROM ${messages} WHERE entity_type = ${entityType} AND NOT EXISTS (
        SELECT 1 FROM ${jobs} AS job WHERE entity_id = job.seat || '/' || job.stack_key || '/' || job.job_uuid
      )`
    yield* sql`
      DELETE FROM ${replies} WHERE NOT EXISTS (SELECT 1 FROM ${messages} AS message WHERE message.id = request_id)`
  })
