/** The leaders of the queues, and how many slots each queue wants. */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Database } from "./database.ts"

export interface Demand {
  readonly stackKey: string
  /** How many slots the queue could use now. */
  readonly wanted: number
}

export interface Queues {
  /** Takes or renews the lease of a queue. False if another process has it; undefined without a response. */
  readonly lead: (demand: Demand, leader: string) => Effect.Effect<boolean | undefined>
  /** Gives up the lease. */
  readonly resign: (stackKey: string, leader: string) => Effect.Effect<void>
  /** The demands of all queues that have a leader. */
  readonly demands: Effect.Effect<ReadonlyArray<Demand>, SqlError>
  /** The turn of the allocation, by the database's clock, so that all leaders agree. */
  readonly turn: Effect.Effect<number, SqlError>
}

/** In seconds. Long enough to reserve jobs in it, and short for a queue that waits for its turn. */
const turnLength = 10

export const make = ({ promptly, queues, sql, expiresAt }: Database): Queues => ({
  lead: ({ stackKey, wanted }, leader) =>
    Effect.map(
      promptly(sql`
        INSERT INTO ${queues} (stack_key, leader, wanted, until) VALUES (${stackKey}, ${leader}, ${wanted}, ${expiresAt})
        ON CONFLICT (stack_key) DO UPDATE SET leader = EXCLUDED.leader, wanted = EXCLUDED.wanted, until = EXCLUDED.until
        WHERE ${queues}.leader = EXCLUDED.leader OR ${queues}.leader IS NULL OR ${queues}.until <= now()
        RETURNING stack_key`),
      (rows) => rows && rows.length > 0
    ),
  resign: (stackKey, leader) =>
    Effect.asVoid(
      promptly(sql`UPDATE ${queues} SET leader = NULL, wanted = 0 WHERE stack_key = ${stackKey} AND leader = ${leader}`)
    ),
  demands: sql<Demand>`
    SELECT stack_key AS "stackKey", wanted FROM ${queues}
    WHERE leader IS NOT NULL AND until > now() ORDER BY stack_key`,
  turn: Effect.map(
    sql<{ readonly turn: number }>`SELECT floor(extract(epoch FROM now()) / ${turnLength}::int)::int AS turn`,
    ([row]) => row?.turn ?? 0
  )
})
