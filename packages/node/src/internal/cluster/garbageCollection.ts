/** Garbage collection: removes rows that nothing else removes, since the tables have to last for years. */
import * as Effect from "effect/Effect"
import type { Database } from "./database.ts"
import { entityType } from "./jobEntity.ts"

/**
 * Removes:
 *
 * - processes that have been dead for a day, and Effect's rows of them, which it removes only when another process stops in order;
 * - queues without a leader for a day, and their jobs, whose reservations lapsed long ago;
 * - messages of jobs that are no longer dispatched there, and replies without a message.
 */
export const collectGarbage = ({ jobs, messages, processes, queues, replies, runners, sql }: Database) =>
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
        SELECT 1 FROM ${jobs} AS job WHERE entity_id = job.member_id || '/' || job.stack_key || '/' || job.job_uuid
      )`
    yield* sql`
      DELETE FROM ${replies} WHERE NOT EXISTS (SELECT 1 FROM ${messages} AS message WHERE message.id = request_id)`
  })
