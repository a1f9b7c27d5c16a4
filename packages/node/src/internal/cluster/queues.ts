/** Who leads each queue, and how many slots each has use for. */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Database } from "./database.ts"

export interface Demand {
  readonly stackKey: string
  /** How many slots the queue has use for now. */
  readonly wanted: number
}

export interface Queues {
  /** Takes or keeps the lead of a queue. False where somebody else has it; undefined where nobody answers. */
  readonly lead: (demand: Demand, leader: string) => Effect.Effect<boolean | undefined>
  /** Gives it up. */
  readonly resign: (stackKey: string, leader: string) => Effect.Effect<void>
  /** What the queues want that are led. */
  readonly demands: Effect.Effect<ReadonlyArray<Demand>, SqlError>
  /** Whose turn it is, where they take turns: by the database's clock, so that all leaders say the same. */
  readonly turn: Effect.Effect<number, SqlError>
}

/** In seconds. Long enough for jobs to be reserved in it, and short for a queue that waits for it. */
const turnLength = 10

export const make = ({ promptly, queues, sql, untilThen }: Database): Queues => ({
  lead: ({ stackKey, wanted }, leader) =>
    Effect.map(
      promptly(sql`
        INSERT INTO ${queues} (stack_key, leader, wanted, until) VALUES (${stackKey}, ${leader}, ${wanted}, ${untilThen})
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
