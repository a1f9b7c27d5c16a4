/**
 * The members of the cluster. Each process has a member id, a small number to which the cluster routes its jobs, and sends a heartbeat
 * every second. A process whose heartbeats stop is dead for all others at the same moment.
 */
import { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import * as Check from "../options.ts"
import type { Database } from "./database.ts"

export interface Member {
  readonly memberId: number
  readonly host: string
  readonly port: number
  readonly slots: number
  /** How many jobs it has, including those that wait for a slot there. */
  readonly running: number
  /** Jobs are dispatched to `open` members only. A `leaving` one has left the cluster and is still alive. */
  readonly phase: "joining" | "open" | "leaving"
}

export interface Members {
  readonly memberId: number
  /** Renews the lease. False if another process has the member id; undefined without a response. */
  readonly heartbeat: (running: number, isOpen: boolean) => Effect.Effect<boolean | undefined>
  /** From now on it is leaving, whatever the next beats say. */
  readonly leave: Effect.Effect<void>
  /** The members that are alive. */
  readonly alive: Effect.Effect<ReadonlyArray<Member>, SqlError>
}

export interface NewMember {
  readonly processId: string
  readonly clusterKey: string
  readonly host: string
  readonly port: number
  readonly slots: number
}

/** How many members a cluster can have. */
export const maxMembers = 128

/** How long to wait, in seconds, for a process that is leaving and has the address of this one. */
const maxWait = 120

/** Joins the cluster with a free member id, until the scope closes. Fails if the cluster key or the address can't be used. */
export const join = Effect.fnUntraced(function* (
  { processes, promptly, sql, expiresAt }: Database,
  { clusterKey, host, port, processId, slots }: NewMember
): Effect.fn.Return<Members, InvalidOptions | SqlError, Scope.Scope> {
  const others = sql<{
    readonly clusterKey: string
    readonly isHere: boolean
    readonly isLeaving: boolean
    readonly left: number
  }>`
    SELECT cluster_key AS "clusterKey", host = ${host} AND port = ${port} AS "isHere", phase = 'leaving' AS "isLeaving",
      extract(epoch FROM until - now())::float8 AS left
    FROM ${processes} WHERE until > now()`

  /** Waits for a previous process at this address: for its lease to expire if it was killed, or for its end if it is leaving. */
  const awaitAddress = (waited: number): Effect.Effect<void, InvalidOptions | SqlError> =>
    Effect.gen(function* () {
      const alive = yield* others
      const foreign = alive.find((process) => process.clusterKey !== clusterKey)
      if (foreign !== undefined) {
        return yield* new InvalidOptions({
          option: "tablePrefix",
          issue: `must be different for each cluster: these tables belong to a cluster with the key ${foreign.clusterKey}`
        })
      }
      const previous = alive.find(({ isHere }) => isHere)
      if (previous === undefined) return
      if (waited > 0 && !(previous.isLeaving && waited < maxWait)) {
        return yield* new InvalidOptions({
          option: "port",
          issue: `and host must be different for each process: another one has the address ${host}:${port}. Give each process an address of its own that the others can reach`
        })
      }
      if (waited === 0) yield* Effect.logInfo(`Waiting for the previous process at ${host}:${port} to end`)
      const seconds = previous.isLeaving ? 1 : previous.left + 0.1
      yield* Effect.sleep(Duration.seconds(seconds))
      yield* awaitAddress(waited + seconds)
    })
  yield* awaitAddress(0)

  let isLeaving = false
  // The id that this address had before, else an unused id, else the id of the process that has been dead for longest.
  const take = sql<{ readonly memberId: number }>`
    INSERT INTO ${processes} (member_id, process_id, cluster_key, host, port, slots, running, phase, until)
    SELECT ids.member_id, ${processId}, ${clusterKey}, ${host}, ${port}::int, ${slots}::int, 0, 'joining', ${expiresAt}
    FROM generate_series(0, ${maxMembers - 1}::int) AS ids (member_id)
    LEFT JOIN ${processes} AS previous ON previous.member_id = ids.member_id
    WHERE previous.member_id IS NULL OR previous.until <= now()
    ORDER BY (previous.host = ${host} AND previous.port = ${port}) IS TRUE DESC, previous.until NULLS FIRST, ids.member_id
    LIMIT 1
    ON CONFLICT (member_id) DO UPDATE SET
      process_id = EXCLUDED.process_id, cluster_key = EXCLUDED.cluster_key, host = EXCLUDED.host,
      port = EXCLUDED.port, slots = EXCLUDED.slots, running = 0, phase = EXCLUDED.phase, until = EXCLUDED.until
    WHERE ${processes}.until <= now()
    RETURNING member_id AS "memberId"`
  // Another process may take the same id at the same time.
  const taken = yield* Effect.repeat(take, {
    schedule: Schedule.spaced("100 millis"),
    times: 20,
    until: (rows) => rows.length > 0
  })
  const memberId = taken[0]?.memberId
  if (memberId === undefined)
    return yield* Check.invalid("key", `names a cluster that already has ${maxMembers} processes, which is the limit`)
  yield* Effect.addFinalizer(() =>
    // The row stays, so that the next process at this address gets the same id: other processes may not tell the two apart.
    promptly(sql`UPDATE ${processes} SET until = now() WHERE member_id = ${memberId} AND process_id = ${processId}`)
  )

  return {
    memberId,
    heartbeat: (running, isOpen) =>
      Effect.suspend(() =>
        Effect.map(
          promptly(sql`
            UPDATE ${processes} SET
              running = ${running}, phase = ${isLeaving ? "leaving" : isOpen ? "open" : "joining"}, until = ${expiresAt}
            WHERE member_id = ${memberId} AND process_id = ${processId} RETURNING 1`),
          (rows) => rows && rows.length > 0
        )
      ),
    leave: Effect.suspend(() => {
      isLeaving = true
      return promptly(
        sql`UPDATE ${processes} SET phase = 'leaving' WHERE member_id = ${memberId} AND process_id = ${processId}`
      )
    }),
    alive: sql<Member>`
      SELECT member_id AS "memberId", host, port, slots, running, phase FROM ${processes} WHERE until > now() ORDER BY member_id`
  }
})
