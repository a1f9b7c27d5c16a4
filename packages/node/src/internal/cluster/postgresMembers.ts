/** The statements about members and the leaders of queues. */
import type { StopReason } from "@stacksapi/core/JobRunner"
import * as Effect from "effect/Effect"
import * as Hints from "./hints.ts"
import { json, notify, run, type Tables } from "./postgresStatements.ts"
import type { Member, QueueRow, Storage } from "./storage.ts"

/** In seconds. Long enough to reserve jobs in it, and short for a queue that waits for its turn. */
const turnLength = 10

export const membership = (
  tables: Tables
): Pick<Storage, "join" | "heartbeat" | "leave" | "deleteExpired" | "snapshot"> => {
  const { expiresAt, jobs, leaders, members, sql } = tables
  const refreshHint = notify(tables, Hints.Hint.Look({ memberId: undefined }))
  return {
    join: ({ clusterKey, name, slots, stackKeys }) =>
      run(
        Effect.gen(function* () {
          const keys = json(tables, stackKeys)
          const isForeign = sql`cluster_key <> ${clusterKey} AND until > now()`
          // In the order of their keys, so that two processes can't wait for each other.
          const [joined] = yield* sql<{ readonly memberId: number }>`
            WITH listed AS (
              INSERT INTO ${leaders} (stack_key, listed_at)
              SELECT key, now() FROM jsonb_array_elements_text(${keys}) AS keys (key) ORDER BY key
              ON CONFLICT (stack_key) DO UPDATE SET listed_at = now()
            ), joined AS (
              INSERT INTO ${members} (cluster_key, name, slots, free, phase, stack_keys, demands, beat, until)
              SELECT ${clusterKey}, ${name}, ${slots}::int, ${slots}::int, 'open', ${keys}, '{}', now(), ${expiresAt}
              WHERE NOT EXISTS (SELECT 1 FROM ${members} WHERE ${isForeign})
              RETURNING id
            )
            SELECT id AS "memberId", ${refreshHint} FROM joined`
          // Of two processes with different keys that join at the same moment, at least one sees the other here.
          const [foreign] = yield* sql<{ readonly key: string }>`
            SELECT cluster_key AS key FROM ${members} WHERE ${isForeign} LIMIT 1`
          if (joined !== undefined && foreign === undefined) return { memberId: joined.memberId }
          if (joined !== undefined) yield* sql`DELETE FROM ${members} WHERE id = ${joined.memberId}::int`
          return { foreignKey: foreign?.key ?? "" }
        })
      ),
    heartbeat: (memberId, { demands, free, phase }) =>
      Effect.map(
        run(sql`
          UPDATE ${members} SET
            free = ${free}::int, phase = ${phase}, demands = ${json(tables, demands)}, beat = now(), until = ${expiresAt}
          WHERE id = ${memberId}::int RETURNING id`),
        (rows) => rows.length > 0
      ),
    leave: (memberId) =>
      Effect.asVoid(
        run(sql`
          WITH gone AS (DELETE FROM ${members} WHERE id = ${memberId}::int RETURNING id) SELECT ${refreshHint} FROM gone`)
      ),
    // A member that is renewed meanwhile stays: its row is looked at again before it is removed.
    deleteExpired: Effect.asVoid(
      run(sql`WITH dead AS (DELETE FROM ${members} WHERE until <= now() RETURNING id) SELECT ${refreshHint} FROM dead`)
    ),
    snapshot: (memberId) =>
      Effect.map(
        run(sql<{
          readonly members: ReadonlyArray<Member>
          readonly queues: ReadonlyArray<QueueRow>
          readonly owned: ReadonlyArray<{ readonly dispatch: number; readonly stop: StopReason | null }>
          readonly turn: number
        }>`
          SELECT
            (SELECT coalesce(json_agg(json_build_object(
              'id', id, 'name', name, 'slots', slots, 'free', free, 'phase', phase, 'stackKeys', stack_keys, 'demands', demands,
              'silentMillis', extract(epoch FROM now() - beat) * 1000, 'expiresInMillis', extract(epoch FROM until - now()) * 1000
            ) ORDER BY id), '[]') FROM ${members}) AS members,
            (SELECT coalesce(json_agg(json_build_object('stackKey', stack_key, 'leader', leader, 'fence', fence)
              ORDER BY stack_key), '[]') FROM ${leaders}) AS queues,
            (SELECT coalesce(json_agg(json_build_object('dispatch', dispatch, 'stop', stop)), '[]')
              FROM ${jobs} WHERE owner = ${memberId}::int AND phase = 'running') AS owned,
            floor(extract(epoch FROM now()) / ${turnLength}::int)::int AS turn`),
        ([row]) => row ?? { members: [], queues: [], owned: [], turn: 0 }
      )
  }
}

export const leadership = (tables: Tables): Pick<Storage, "take" | "resign"> => {
  const { leaders, members, sql } = tables
  return {
    take: (memberId, stackKeys) =>
      Effect.map(
        run(sql<{ readonly stackKey: string; readonly fence: number; readonly leaderlessMillis: number | null }>`
          WITH free AS (
            SELECT stack_key, CASE WHEN fence = 0 THEN 1e9 ELSE extract(epoch FROM now() - freed_at) * 1000 END AS free_for
            FROM ${leaders}
            WHERE leader IS NULL AND stack_key IN (SELECT jsonb_array_elements_text(${json(tables, stackKeys)}))
              AND EXISTS (SELECT 1 FROM ${members} WHERE id = ${memberId}::int)
            ORDER BY stack_key FOR UPDATE
          )
          UPDATE ${leaders} AS queue SET leader = ${memberId}::int, fence = fence + 1, freed_at = NULL
          FROM free WHERE queue.stack_key = free.stack_key
          RETURNING queue.stack_key AS "stackKey", queue.fence, free.free_for::float8 AS "leaderlessMillis"`),
        (rows) => rows.map((row) => ({ ...row, leaderlessMillis: row.leaderlessMillis ?? undefined }))
      ),
    resign: ({ fence, memberId, stackKey }) =>
      Effect.asVoid(
        run(sql`
          WITH freed AS (
            UPDATE ${leaders} SET leader = NULL, freed_at = now()
            WHERE stack_key = ${stackKey} AND leader = ${memberId}::int AND fence = ${fence}::int RETURNING 1
          )
          SELECT ${notify(tables, Hints.Hint.Look({ memberId: undefined }))} FROM freed`)
      )
  }
}
