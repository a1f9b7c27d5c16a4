/**
 * The processes that are there. Each has a seat, a small number of its own, to which the cluster sends its jobs; and it says
 * every second that it is alive. One that was silent for too long counts as dead for all others, at the same moment.
 */
import { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import * as Check from "../options.ts"
import type { Database } from "./database.ts"

export interface Process {
  readonly seat: number
  readonly host: string
  readonly port: number
  readonly slots: number
  /** How many jobs it has, those that wait for a slot there included. */
  readonly running: number
  /** Only one that is `open` is sent jobs; one that is `leaving` is no part of the cluster any more, but still alive. */
  readonly phase: "joining" | "open" | "leaving"
}

export interface Roster {
  readonly seat: number
  /** Says that this process is alive. False where another one has its seat; undefined where nobody answers. */
  readonly beat: (running: number, isOpen: boolean) => Effect.Effect<boolean | undefined>
  /** From now on it is leaving, whatever the next beats say. */
  readonly leave: Effect.Effect<void>
  /** The processes that are alive. */
  readonly living: Effect.Effect<ReadonlyArray<Process>, SqlError>
}

export interface Entrant {
  readonly processId: string
  readonly clusterKey: string
  readonly host: string
  readonly port: number
  readonly slots: number
}

/** How many processes there may be. */
export const maxSeats = 128

/** How long the end of a process is waited for that is leaving and whose address is needed, in seconds. */
const maxWait = 120

/** Takes a seat, and gives it back when the scope closes. Fails with what is wrong with the entrant. */
export const join = Effect.fnUntraced(function* (
  { processes, promptly, sql, untilThen }: Database,
  { clusterKey, host, port, processId, slots }: Entrant
): Effect.fn.Return<Roster, InvalidOptions | SqlError, Scope.Scope> {
  const others = sql<{
    readonly clusterKey: string
    readonly isHere: boolean
    readonly isLeaving: boolean
    readonly left: number
  }>`
    SELECT cluster_key AS "clusterKey", host = ${host} AND port = ${port} AS "isHere", phase = 'leaving' AS "isLeaving",
      extract(epoch FROM until - now())::float8 AS left
    FROM ${processes} WHERE until > now()`

  /** One that was killed is silent, and its time runs out; one that leaves will be gone. */
  const awaitAddress = (waited: number): Effect.Effect<void, InvalidOptions | SqlError> =>
    Effect.gen(function* () {
      const living = yield* others
      const foreign = living.find((process) => process.clusterKey !== clusterKey)
      if (foreign !== undefined) {
        return yield* new InvalidOptions({
          option: "tablePrefix",
          issue: `must be different for each cluster: one with the key ${foreign.clusterKey} uses these tables`
        })
      }
      const former = living.find(({ isHere }) => isHere)
      if (former === undefined) return
      if (waited > 0 && !(former.isLeaving && waited < maxWait)) {
        return yield* new InvalidOptions({
          option: "port",
          issue: `and host must be different for each process: another one has the address ${host}:${port}. Give each its own, under which the others reach it`
        })
      }
      if (waited === 0) yield* Effect.logInfo(`A former process at ${host}:${port} is not gone yet: waiting for it`)
      const seconds = former.isLeaving ? 1 : former.left + 0.1
      yield* Effect.sleep(Duration.seconds(seconds))
      yield* awaitAddress(waited + seconds)
    })
  yield* awaitAddress(0)

  let isLeaving = false
  // The seat that it had before, else one that was never used, else the one whose process is dead for the longest time.
  const take = sql<{ readonly seat: number }>`
    INSERT INTO ${processes} (seat, process_id, cluster_key, host, port, slots, running, phase, until)
    SELECT seats.seat, ${processId}, ${clusterKey}, ${host}, ${port}::int, ${slots}::int, 0, 'joining', ${untilThen}
    FROM generate_series(0, ${maxSeats - 1}::int) AS seats (seat)
    LEFT JOIN ${processes} AS former ON former.seat = seats.seat
    WHERE former.seat IS NULL OR former.until <= now()
    ORDER BY (former.host = ${host} AND former.port = ${port}) IS TRUE DESC, former.until NULLS FIRST, seats.seat
    LIMIT 1
    ON CONFLICT (seat) DO UPDATE SET
      process_id = EXCLUDED.process_id, cluster_key = EXCLUDED.cluster_key, host = EXCLUDED.host,
      port = EXCLUDED.port, slots = EXCLUDED.slots, running = 0, phase = EXCLUDED.phase, until = EXCLUDED.until
    WHERE ${processes}.until <= now()
    RETURNING seat`
  // Others may take the same one at the same time.
  const taken = yield* Effect.repeat(take, {
    schedule: Schedule.spaced("100 millis"),
    times: 20,
    until: (rows) => rows.length > 0
  })
  const seat = taken[0]?.seat
  if (seat === undefined)
    return yield* Check.invalid("key", `names a cluster that has ${maxSeats} processes already, and can't have more`)
  yield* Effect.addFinalizer(() =>
    // It keeps the seat for the next life at this address, which the others may not tell from this one.
    promptly(sql`UPDATE ${processes} SET until = now() WHERE seat = ${seat} AND process_id = ${processId}`)
  )

  return {
    seat,
    beat: (running, isOpen) =>
      Effect.suspend(() =>
        Effect.map(
          promptly(sql`
            UPDATE ${processes} SET
              running = ${running}, phase = ${isLeaving ? "leaving" : isOpen ? "open" : "joining"}, until = ${untilThen}
            WHERE seat = ${seat} AND process_id = ${processId} RETURNING seat`),
          (rows) => rows && rows.length > 0
        )
      ),
    leave: Effect.suspend(() => {
      isLeaving = true
      return promptly(sql`UPDATE ${processes} SET phase = 'leaving' WHERE seat = ${seat} AND process_id = ${processId}`)
    }),
    living: sql<Process>`
      SELECT seat, host, port, slots, running, phase FROM ${processes} WHERE until > now() ORDER BY seat`
  }
})
