/** The tables of a cluster, on a real PostgreSQL: which process may change which rows. */
import { assert, layer } from "@effect/vitest"
import type { StacksSchema } from "@stacksapi/core"
import { DateTime, Duration, Effect } from "effect"
import * as Database from "../../../packages/node/src/internal/cluster/database.ts"
import { collectGarbage } from "../../../packages/node/src/internal/cluster/garbageCollection.ts"
import { entityIdOf, entityType } from "../../../packages/node/src/internal/cluster/jobEntity.ts"
import * as ClusterJobStore from "../../../packages/node/src/internal/cluster/jobStore.ts"
import * as Members from "../../../packages/node/src/internal/cluster/members.ts"
import * as Ownership from "../../../packages/node/src/internal/cluster/ownership.ts"
import * as Queues from "../../../packages/node/src/internal/cluster/queues.ts"
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
const notOrphan = { isOrphan: false, answer: undefined }
const orphan = { isOrphan: true, answer: undefined }
const keyOf = (jobUuid: string) => ({ stackKey, jobUuid })

/** Effect creates its own tables when a cluster starts. */
const make = Effect.fnUntraced(function* (prefix: string, expiration = Duration.minutes(5)) {
  const database = yield* Database.make(prefix, `${prefix}_cluster`, expiration)
  const { messages, processes, replies, runners, sql } = database
  yield* sql`CREATE TABLE ${messages} (id BIGINT, entity_type TEXT, entity_id TEXT, processed BOOLEAN)`
  yield* sql`CREATE TABLE ${replies} (request_id BIGINT)`
  yield* sql`CREATE TABLE ${runners} (address TEXT, last_heartbeat TIMESTAMP)`
  const join = (processId: string, port: number) =>
    Members.join(database, { processId, clusterKey: "s", host: "h", port, slots: 1 })
  /** Makes all processes count as dead. */
  const expireLeases = sql`UPDATE ${processes} SET until = now()`
  return { database, join, expireLeases, ownership: Ownership.make(database), queues: Queues.make(database) }
})

layer(Postgres.Server.layer, { excludeTestServices: true })("The tables of a cluster", (it) => {
  const onDatabase = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const { createDatabase } = yield* Postgres.Server
      return yield* Effect.provide(Effect.scoped(effect), Postgres.layerClient(yield* createDatabase))
    })

  it.effect("claim: one process gets a job, and another one only when the owner is dead", () =>
    onDatabase(
      Effect.gen(function* () {
        const { ownership, join, expireLeases } = yield* make("t")
        const memberships = { a: yield* join("a", 1), b: yield* join("b", 2) }
        const { dispatchId } = yield* ownership.assign(jobOf("j"), stackKey, memberships.a.memberId)
        const claims = yield* Effect.forEach(["a", "b"], (owner) => ownership.claim(keyOf("j"), dispatchId, owner), {
          concurrency: 2
        })
        assert.sameDeepMembers(claims, [notOrphan, undefined])
        const [first, second] = claims[0] === undefined ? (["b", "a"] as const) : (["a", "b"] as const)
        assert.strictEqual(yield* ownership.claim(keyOf("j"), dispatchId + 1, first), undefined)
        // Both miss their heartbeats, and one of them is back.
        yield* expireLeases
        assert.strictEqual(yield* ownership.claim(keyOf("j"), dispatchId, second), "dead")
        assert.lengthOf(yield* ownership.owned(first), 1)
        assert.strictEqual(yield* memberships[second].heartbeat(0, true), true)
        assert.deepStrictEqual(yield* ownership.claim(keyOf("j"), dispatchId, second), orphan)
        assert.deepStrictEqual(yield* ownership.owned(first), [])
        // The dead process comes back: it no longer owns the job.
        assert.strictEqual(yield* memberships[first].heartbeat(0, true), true)
        assert.strictEqual(yield* ownership.claim(keyOf("j"), dispatchId, first), undefined)
      })
    )
  )

  it.effect("requeue, reassign, retry: do nothing with an outdated assignment", () =>
    onDatabase(
      Effect.gen(function* () {
        const { ownership, join } = yield* make("t")
        const { memberId } = yield* join("a", 1)
        const assignment = yield* ownership.assign(jobOf("j"), stackKey, memberId)
        // A second leader gets the existing assignment.
        assert.deepStrictEqual(yield* ownership.assign(jobOf("j"), stackKey, memberId + 1), assignment)
        assert.isFalse(yield* ownership.reassign(keyOf("j"), assignment))
        assert.isTrue(yield* ownership.requeue(keyOf("j"), assignment))
        const next = yield* ownership.assign(jobOf("j"), stackKey, memberId)
        assert.notStrictEqual(next.dispatchId, assignment.dispatchId)
        for (const change of [ownership.requeue, ownership.reassign])
          assert.isFalse(yield* change(keyOf("j"), assignment))
        yield* ownership.retry(keyOf("j"), assignment)
        assert.strictEqual(yield* ownership.stateOf(keyOf("j"), next.dispatchId), "waiting")
        assert.deepStrictEqual(yield* ownership.claim(keyOf("j"), next.dispatchId, "a"), notOrphan)
        // A repeated claim, after a lost response, has the same result.
        assert.deepStrictEqual(yield* ownership.claim(keyOf("j"), next.dispatchId, "a"), notOrphan)
        assert.isFalse(yield* ownership.requeue(keyOf("j"), next))
      })
    )
  )

  it.effect("reassign: leaves a job alone that has an answer, although its member is dead", () =>
    onDatabase(
      Effect.gen(function* () {
        const { ownership, database, join, expireLeases } = yield* make("t")
        const { heartbeat, memberId } = yield* join("a", 1)
        const assignment = yield* ownership.assign(jobOf("j"), stackKey, memberId)
        yield* ownership.claim(keyOf("j"), assignment.dispatchId, "a")
        yield* expireLeases
        const { messages, sql } = database
        const entityId = entityIdOf(keyOf("j"), memberId)
        yield* sql`INSERT INTO ${messages} VALUES (1, ${entityType}, ${entityId}, TRUE)`
        assert.isFalse(yield* ownership.reassign(keyOf("j"), assignment))
        yield* sql`UPDATE ${messages} SET processed = FALSE`
        assert.isTrue(yield* ownership.reassign(keyOf("j"), assignment))
        assert.lengthOf(yield* sql`SELECT 1 FROM ${messages}`, 0)
        const next = yield* ownership.assign(jobOf("j"), stackKey, memberId)
        assert.strictEqual(yield* heartbeat(0, true), true)
        assert.deepStrictEqual(yield* ownership.claim(keyOf("j"), next.dispatchId, "a"), orphan)
      })
    )
  )

  it.effect("release: gives up a job that was claimed and not started", () =>
    onDatabase(
      Effect.gen(function* () {
        const { ownership, join, expireLeases } = yield* make("t")
        const { memberId } = yield* join("a", 1)
        const other = yield* join("b", 2)
        const { dispatchId } = yield* ownership.assign(jobOf("j"), stackKey, memberId)
        yield* ownership.claim(keyOf("j"), dispatchId, "a")
        yield* ownership.release(keyOf("j"), dispatchId, "b")
        yield* ownership.release(keyOf("j"), dispatchId + 1, "a")
        assert.strictEqual(yield* ownership.stateOf(keyOf("j"), dispatchId), "owned")
        yield* ownership.release(keyOf("j"), dispatchId, "a")
        assert.strictEqual(yield* ownership.stateOf(keyOf("j"), dispatchId), "waiting")
        // A job that a dead process has started stays an orphan.
        yield* ownership.claim(keyOf("j"), dispatchId, "a")
        yield* expireLeases
        yield* other.heartbeat(0, true)
        assert.deepStrictEqual(yield* ownership.claim(keyOf("j"), dispatchId, "b"), orphan)
        yield* ownership.release(keyOf("j"), dispatchId, "b")
        assert.deepStrictEqual(yield* ownership.claim(keyOf("j"), dispatchId, "b"), orphan)
      })
    )
  )

  it.effect("saveAnswer: the next leader gets the answer of a process that stopped", () =>
    onDatabase(
      Effect.gen(function* () {
        const { ownership, join, expireLeases } = yield* make("t")
        const { memberId } = yield* join("a", 1)
        const assignment = yield* ownership.assign(jobOf("j"), stackKey, memberId)
        assert.strictEqual(assignment.answer, undefined)
        const answer = { _tag: "Finished", exitStatus: 3, detail: "three", signalReason: "cancel" } as const
        yield* ownership.saveAnswer(keyOf("j"), assignment.dispatchId, "a", answer)
        yield* ownership.claim(keyOf("j"), assignment.dispatchId, "a")
        yield* ownership.saveAnswer(keyOf("j"), assignment.dispatchId, "b", answer)
        yield* ownership.saveAnswer(keyOf("j"), assignment.dispatchId + 1, "a", answer)
        assert.deepStrictEqual(yield* ownership.assign(jobOf("j"), stackKey, memberId), assignment)
        yield* ownership.saveAnswer(keyOf("j"), assignment.dispatchId, "a", answer)
        yield* expireLeases
        assert.isTrue(yield* ownership.reassign(keyOf("j"), assignment))
        const next = yield* ownership.assign(jobOf("j"), stackKey, memberId + 1)
        assert.deepStrictEqual(next.answer, answer)
        // The next process at the same address gets it too.
        yield* join("c", 1)
        assert.deepStrictEqual(yield* ownership.claim(keyOf("j"), next.dispatchId, "c"), { isOrphan: true, answer })
        // A retry removes it.
        yield* ownership.retry(keyOf("j"), next)
        assert.strictEqual((yield* ownership.assign(jobOf("j"), stackKey, memberId)).answer, undefined)
      })
    )
  )

  it.effect("JobStore: a previous leader can't remove jobs", () =>
    onDatabase(
      Effect.gen(function* () {
        const { database, queues } = yield* make("t")
        const demand = { stackKey, wanted: 1 }
        assert.isTrue(yield* queues.lead(demand, "previous"))
        assert.isFalse(yield* queues.lead(demand, "next"))
        assert.isTrue(Number.isSafeInteger(yield* queues.turn))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const store = yield* ClusterJobStore.make(database, stackKey, "previous")
            yield* store.save(stackKey, [{ job: jobOf("j") }, { job: jobOf("k") }])
            yield* queues.resign(stackKey, "previous")
            assert.isTrue(yield* queues.lead(demand, "next"))
            yield* store.remove(stackKey, ["j"])
          })
        )
        yield* Effect.scoped(
          Effect.gen(function* () {
            const store = yield* ClusterJobStore.make(database, stackKey, "next")
            const ids = Effect.map(store.load(stackKey), (saved) => saved.map(({ job }) => job.id))
            assert.deepStrictEqual(yield* ids, ["j", "k"])
            // The second one is saved again before it was removed.
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

  it.effect("join: a member id for each address, for processes of the same cluster only", () =>
    onDatabase(
      Effect.gen(function* () {
        const { database, join } = yield* make("t", Duration.seconds(1))
        const first = yield* join("a", 1)
        const memberIds = yield* Effect.forEach(
          [2, 3, 4],
          (port) => Effect.map(join(`p${port}`, port), ({ memberId }) => memberId),
          {
            concurrency: 3
          }
        )
        assert.strictEqual(new Set([first.memberId, ...memberIds]).size, 4)
        // Waits for the dead process at the same address, and takes over its member id.
        const again = yield* join("a2", 1)
        assert.strictEqual(again.memberId, first.memberId)
        assert.strictEqual(yield* first.heartbeat(0, true), false)
        const problem = yield* Effect.flip(
          Members.join(database, { processId: "x", clusterKey: "other", host: "h", port: 9, slots: 1 })
        )
        assert.include(String(problem), "tablePrefix")
      })
    )
  )

  it.effect("collectGarbage: removes rows that are no longer used, and keeps the others", () =>
    onDatabase(
      Effect.gen(function* () {
        const { ownership, database, join, queues } = yield* make("t")
        const { processes, runners, sql } = database
        const { memberId } = yield* join("a", 1)
        yield* queues.lead({ stackKey, wanted: 1 }, "leader")
        yield* Effect.forEach([stackKey, "gone"], (key) => ownership.assign(jobOf("j"), key, memberId))
        yield* sql`INSERT INTO ${runners} VALUES ('h:1', now()), ('h:2', now() - interval '25 hours')`
        yield* sql`
          INSERT INTO ${processes}
          SELECT 100, 'dead', cluster_key, host, 2, slots, running, phase, now() - interval '25 hours' FROM ${processes}`
        yield* collectGarbage(database)
        assert.deepStrictEqual(yield* sql`SELECT address FROM ${runners}`, [{ address: "h:1" }])
        assert.deepStrictEqual(yield* sql`SELECT member_id FROM ${processes}`, [{ member_id: memberId }])
        assert.deepStrictEqual(yield* sql`SELECT stack_key FROM ${database.jobs}`, [{ stack_key: stackKey }])
      })
    )
  )
})
