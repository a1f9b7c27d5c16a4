/** The tables of a cluster, on a real database: who may change what. */
import { assert, layer } from "@effect/vitest"
import type { StacksSchema } from "@stacksapi/core"
import { DateTime, Duration, Effect } from "effect"
import * as Book from "../../../packages/node/src/internal/cluster/book.ts"
import * as Database from "../../../packages/node/src/internal/cluster/database.ts"
import { entityIdOf, entityType } from "../../../packages/node/src/internal/cluster/jobEntity.ts"
import * as ClusterJobStore from "../../../packages/node/src/internal/cluster/jobStore.ts"
import * as Queues from "../../../packages/node/src/internal/cluster/queues.ts"
import * as Roster from "../../../packages/node/src/internal/cluster/roster.ts"
import { tidy } from "../../../packages/node/src/internal/cluster/tidy.ts"
import * as Postgres from "../../support/postgres.ts"

const jobOf = (id: string): StacksSchema.ScheduledJob => ({
  id,
  priority: 0,
  agentQueryRules: [],
  scheduledAt: DateTime.makeUnsafe(0),
  runnableAt: null,
  pipeline: { slug: "p", uuid: "u" },
  build: { uuid: "b", number: 1, branch: "main" },
  step: { key: null }
})

const stackKey = "s--q"
const asItWas = { isOrphan: false, answer: undefined }
const begunElsewhere = { isOrphan: true, answer: undefined }
const keyOf = (jobUuid: string) => ({ stackKey, jobUuid })

/** Effect makes its own tables when a cluster starts. */
const make = Effect.fnUntraced(function* (prefix: string, expiration = Duration.minutes(5)) {
  const database = yield* Database.make(prefix, `${prefix}_cluster`, expiration)
  const { messages, processes, replies, runners, sql } = database
  yield* sql`CREATE TABLE ${messages} (id BIGINT, entity_type TEXT, entity_id TEXT, processed BOOLEAN)`
  yield* sql`CREATE TABLE ${replies} (request_id BIGINT)`
  yield* sql`CREATE TABLE ${runners} (address TEXT, last_heartbeat TIMESTAMP)`
  const enter = (processId: string, port: number) =>
    Roster.join(database, { processId, clusterKey: "s", host: "h", port, slots: 1 })
  /** All are silent for too long. */
  const pass = sql`UPDATE ${processes} SET until = now()`
  return { database, enter, pass, book: Book.make(database), queues: Queues.make(database) }
})

layer(Postgres.Server.layer, { excludeTestServices: true })("The book of a cluster", (it) => {
  const onDatabase = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const { createDatabase } = yield* Postgres.Server
      return yield* Effect.provide(Effect.scoped(effect), Postgres.layerClient(yield* createDatabase))
    })

  it.effect("gives a job to one of the processes that want it, and to another one only when that is dead", () =>
    onDatabase(
      Effect.gen(function* () {
        const { book, enter, pass } = yield* make("t")
        const rosters = { a: yield* enter("a", 1), b: yield* enter("b", 2) }
        const { ticket } = yield* book.place(jobOf("j"), stackKey, rosters.a.seat)
        const claims = yield* Effect.forEach(["a", "b"], (owner) => book.claim(keyOf("j"), ticket, owner), {
          concurrency: 2
        })
        assert.sameDeepMembers(claims, [asItWas, undefined])
        const [first, second] = claims[0] === undefined ? (["b", "a"] as const) : (["a", "b"] as const)
        assert.strictEqual(yield* book.claim(keyOf("j"), ticket + 1, first), undefined)
        // Both are silent for a while, and only one is back.
        yield* pass
        assert.strictEqual(yield* book.claim(keyOf("j"), ticket, second), "dead")
        assert.lengthOf(yield* book.owned(first), 1)
        assert.strictEqual(yield* rosters[second].beat(0, true), true)
        assert.deepStrictEqual(yield* book.claim(keyOf("j"), ticket, second), begunElsewhere)
        assert.deepStrictEqual(yield* book.owned(first), [])
        // Who was dead may come back: what it had is gone.
        assert.strictEqual(yield* rosters[first].beat(0, true), true)
        assert.strictEqual(yield* book.claim(keyOf("j"), ticket, first), undefined)
      })
    )
  )

  it.effect("lets nobody change where a job is who does not know where it is", () =>
    onDatabase(
      Effect.gen(function* () {
        const { book, enter } = yield* make("t")
        const { seat } = yield* enter("a", 1)
        const placement = yield* book.place(jobOf("j"), stackKey, seat)
        // Whoever wants to send it finds it sent.
        assert.deepStrictEqual(yield* book.place(jobOf("j"), stackKey, seat + 1), placement)
        assert.isFalse(yield* book.inherit(keyOf("j"), placement))
        assert.isTrue(yield* book.withdraw(keyOf("j"), placement))
        const next = yield* book.place(jobOf("j"), stackKey, seat)
        assert.notStrictEqual(next.ticket, placement.ticket)
        for (const change of [book.withdraw, book.inherit]) assert.isFalse(yield* change(keyOf("j"), placement))
        yield* book.requeue(keyOf("j"), placement)
        assert.strictEqual(yield* book.look(keyOf("j"), next.ticket), "waiting")
        assert.deepStrictEqual(yield* book.claim(keyOf("j"), next.ticket, "a"), asItWas)
        // Asked again, as where the answer was lost, it is still so.
        assert.deepStrictEqual(yield* book.claim(keyOf("j"), next.ticket, "a"), asItWas)
        assert.isFalse(yield* book.withdraw(keyOf("j"), next))
      })
    )
  )

  it.effect("keeps an answer though whoever gave it is dead", () =>
    onDatabase(
      Effect.gen(function* () {
        const { book, database, enter, pass } = yield* make("t")
        const { beat, seat } = yield* enter("a", 1)
        const placement = yield* book.place(jobOf("j"), stackKey, seat)
        yield* book.claim(keyOf("j"), placement.ticket, "a")
        yield* pass
        const { messages, sql } = database
        const entityId = entityIdOf(keyOf("j"), seat)
        yield* sql`INSERT INTO ${messages} VALUES (1, ${entityType}, ${entityId}, TRUE)`
        assert.isFalse(yield* book.inherit(keyOf("j"), placement))
        yield* sql`UPDATE ${messages} SET processed = FALSE`
        assert.isTrue(yield* book.inherit(keyOf("j"), placement))
        assert.lengthOf(yield* sql`SELECT 1 FROM ${messages}`, 0)
        const next = yield* book.place(jobOf("j"), stackKey, seat)
        assert.strictEqual(yield* beat(0, true), true)
        assert.deepStrictEqual(yield* book.claim(keyOf("j"), next.ticket, "a"), begunElsewhere)
      })
    )
  )

  it.effect("gives a job that was claimed and not begun to the next one, as it was", () =>
    onDatabase(
      Effect.gen(function* () {
        const { book, enter, pass } = yield* make("t")
        const { seat } = yield* enter("a", 1)
        const other = yield* enter("b", 2)
        const { ticket } = yield* book.place(jobOf("j"), stackKey, seat)
        yield* book.claim(keyOf("j"), ticket, "a")
        yield* book.release(keyOf("j"), ticket, "b")
        yield* book.release(keyOf("j"), ticket + 1, "a")
        assert.strictEqual(yield* book.look(keyOf("j"), ticket), "owned")
        yield* book.release(keyOf("j"), ticket, "a")
        assert.strictEqual(yield* book.look(keyOf("j"), ticket), "waiting")
        // Begun by one who died, it stays that.
        yield* book.claim(keyOf("j"), ticket, "a")
        yield* pass
        yield* other.beat(0, true)
        assert.deepStrictEqual(yield* book.claim(keyOf("j"), ticket, "b"), begunElsewhere)
        yield* book.release(keyOf("j"), ticket, "b")
        assert.deepStrictEqual(yield* book.claim(keyOf("j"), ticket, "b"), begunElsewhere)
      })
    )
  )

  it.effect("keeps the answer of one who leaves for whoever sends the job next", () =>
    onDatabase(
      Effect.gen(function* () {
        const { book, enter, pass } = yield* make("t")
        const { seat } = yield* enter("a", 1)
        const placement = yield* book.place(jobOf("j"), stackKey, seat)
        assert.strictEqual(placement.answer, undefined)
        const answer = { _tag: "Finished", exitStatus: 3, detail: "three", signalReason: "cancel" } as const
        yield* book.keep(keyOf("j"), placement.ticket, "a", answer)
        yield* book.claim(keyOf("j"), placement.ticket, "a")
        yield* book.keep(keyOf("j"), placement.ticket, "b", answer)
        yield* book.keep(keyOf("j"), placement.ticket + 1, "a", answer)
        assert.deepStrictEqual(yield* book.place(jobOf("j"), stackKey, seat), placement)
        yield* book.keep(keyOf("j"), placement.ticket, "a", answer)
        yield* pass
        assert.isTrue(yield* book.inherit(keyOf("j"), placement))
        const next = yield* book.place(jobOf("j"), stackKey, seat + 1)
        assert.deepStrictEqual(next.answer, answer)
        // It may have been sent already, as to the next life at the same address.
        yield* enter("c", 1)
        assert.deepStrictEqual(yield* book.claim(keyOf("j"), next.ticket, "c"), { isOrphan: true, answer })
        // It is to run again.
        yield* book.requeue(keyOf("j"), next)
        assert.strictEqual((yield* book.place(jobOf("j"), stackKey, seat)).answer, undefined)
      })
    )
  )

  it.effect("is kept by the one who leads: what a former leader removes late stays", () =>
    onDatabase(
      Effect.gen(function* () {
        const { database, queues } = yield* make("t")
        const demand = { stackKey, wanted: 1 }
        assert.isTrue(yield* queues.lead(demand, "former"))
        assert.isFalse(yield* queues.lead(demand, "next"))
        assert.isTrue(Number.isSafeInteger(yield* queues.turn))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const store = yield* ClusterJobStore.make(database, stackKey, "former")
            yield* store.save(stackKey, [{ job: jobOf("j") }, { job: jobOf("k") }])
            yield* queues.resign(stackKey, "former")
            assert.isTrue(yield* queues.lead(demand, "next"))
            yield* store.remove(stackKey, ["j"])
          })
        )
        yield* Effect.scoped(
          Effect.gen(function* () {
            const store = yield* ClusterJobStore.make(database, stackKey, "next")
            const ids = Effect.map(store.load(stackKey), (saved) => saved.map(({ job }) => job.id))
            assert.deepStrictEqual(yield* ids, ["j", "k"])
            // Removed, and back before that was done.
            yield* store.remove(stackKey, ["j", "k"])
            yield* store.save(stackKey, [{ job: jobOf("k") }])
          })
        )
        const { load } = yield* ClusterJobStore.make(database, stackKey, "next")
        assert.deepStrictEqual(
          (yield* load(stackKey)).map(({ job }) => job.id),
          ["k"]
        )
      })
    )
  )

  it.effect("has seats for processes that differ in their address and are of the same cluster", () =>
    onDatabase(
      Effect.gen(function* () {
        const { database, enter } = yield* make("t", Duration.seconds(1))
        const first = yield* enter("a", 1)
        const seats = yield* Effect.forEach(
          [2, 3, 4],
          (port) => Effect.map(enter(`p${port}`, port), ({ seat }) => seat),
          {
            concurrency: 3
          }
        )
        assert.strictEqual(new Set([first.seat, ...seats]).size, 4)
        // One that died is waited for, and its seat kept for the next at its address.
        const again = yield* enter("a2", 1)
        assert.strictEqual(again.seat, first.seat)
        assert.strictEqual(yield* first.beat(0, true), false)
        const problem = yield* Effect.flip(
          Roster.join(database, { processId: "x", clusterKey: "other", host: "h", port: 9, slots: 1 })
        )
        assert.include(String(problem), "tablePrefix")
      })
    )
  )

  it.effect("is rid of what nobody has use for any more, and keeps what lives", () =>
    onDatabase(
      Effect.gen(function* () {
        const { book, database, enter, queues } = yield* make("t")
        const { processes, runners, sql } = database
        const { seat } = yield* enter("a", 1)
        yield* queues.lead({ stackKey, wanted: 1 }, "leader")
        yield* Effect.forEach([stackKey, "gone"], (key) => book.place(jobOf("j"), key, seat))
        yield* sql`INSERT INTO ${runners} VALUES ('h:1', now()), ('h:2', now() - interval '25 hours')`
        yield* sql`
          INSERT INTO ${processes}
          SELECT 100, 'dead', cluster_key, host, 2, slots, running, phase, now() - interval '25 hours' FROM ${processes}`
        yield* tidy(database)
        assert.deepStrictEqual(yield* sql`SELECT address FROM ${runners}`, [{ address: "h:1" }])
        assert.deepStrictEqual(yield* sql`SELECT seat FROM ${processes}`, [{ seat }])
        assert.deepStrictEqual(yield* sql`SELECT stack_key FROM ${database.jobs}`, [{ stack_key: stackKey }])
      })
    )
  )
})
