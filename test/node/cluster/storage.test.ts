/** What a cluster's database does with each statement: PostgreSQL, and the simulated one of the other tests. */
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { Hint } from "../../../packages/node/src/internal/cluster/hints.ts"
import * as PostgresStorage from "../../../packages/node/src/internal/cluster/postgres.ts"
import type { Storage } from "../../../packages/node/src/internal/cluster/storage.ts"
import { until } from "../../support/cluster.ts"
import { Database, jobOf } from "../../support/clusterStorage.ts"
import * as Postgres from "../../support/postgres.ts"
import { claim, finished, join, lead, leading, newMember, offer, open, stackKey } from "../../support/storedQueue.ts"

layer(Postgres.Server.layer, { excludeTestServices: true })("A cluster's database", (it) => {
  /** A database of its own for each test. */
  const inPostgres = (
    test: (storage: Storage) => Effect.Effect<void, unknown>,
    expiration: Duration.Input = "5 minutes"
  ) =>
    Effect.gen(function* () {
      const { createDatabase } = yield* Postgres.Server
      const url = yield* createDatabase
      yield* PostgresStorage.make("stacksapi", Duration.fromInputUnsafe(expiration)).pipe(
        Effect.flatMap(test),
        Effect.provide(Postgres.layerClient(url))
      )
    })
  const inMemory = (
    test: (storage: Storage) => Effect.Effect<void, unknown>,
    expiration: Duration.Input = "5 minutes"
  ) => test(new Database(Duration.toMillis(expiration)).connect())

  for (const [where, run] of [
    ["PostgreSQL", inPostgres],
    ["memory", inMemory]
  ] as const) {
    it.effect(`${where}: gives each member another id, and forgets one that left`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const first = yield* join(storage)
          const second = yield* join(storage)
          assert.isTrue(yield* storage.heartbeat(first, open))
          const { members } = yield* storage.snapshot(second)
          assert.deepStrictEqual(
            members.map(({ demands, free, id, name, phase, slots, stackKeys }) => ({
              demands,
              free,
              id,
              name,
              phase,
              slots,
              stackKeys
            })),
            [
              { id: first, name: "one", slots: 4, stackKeys: newMember.stackKeys, ...open },
              { id: second, name: "one", slots: 4, stackKeys: newMember.stackKeys, free: 4, phase: "open", demands: {} }
            ]
          )
          for (const { expiresInMillis, silentMillis } of members) {
            assert.isAbove(expiresInMillis, 200_000)
            assert.isBelow(silentMillis, 100_000)
          }
          yield* storage.leave(first)
          assert.isFalse(yield* storage.heartbeat(first, open))
          assert.notStrictEqual(yield* join(storage), first)
          assert.deepStrictEqual(yield* storage.join({ ...newMember, clusterKey: "t" }), { foreignKey: "s" })
        })
      )
    )

    it.effect(`${where}: buries only members whose lease has expired, with all that they had`, () =>
      run(
        (storage) =>
          Effect.gen(function* () {
            const { memberId, term } = yield* leading(storage, "a", "b")
            yield* offer(storage, term, "a")
            yield* claim(storage, memberId)
            yield* storage.deleteExpired
            assert.isTrue(yield* storage.heartbeat(memberId, open))
            yield* Effect.sleep("1 second")
            const heir = yield* join(storage)
            yield* storage.deleteExpired
            assert.isFalse(yield* storage.heartbeat(memberId, open))
            const { members, queues } = yield* storage.snapshot(heir)
            assert.deepStrictEqual(
              members.map(({ id }) => id),
              [heir]
            )
            assert.deepStrictEqual(
              queues.map(({ leader }) => leader),
              [null, null]
            )
            const next = yield* lead(storage, heir)
            assert.strictEqual(next.fence, term.fence + 1)
            const stored = yield* storage.load(next)
            assert.deepStrictEqual(
              stored.map(({ job, phase }) => [job.id, phase]),
              [
                ["a", "running"],
                ["b", "saved"]
              ]
            )
            const [orphan] = yield* storage.ended(heir)
            assert.strictEqual(orphan?.jobUuid, "a")
            assert.isNull(orphan?.owner)
            assert.isUndefined(orphan?.outcome)
          }),
        "900 millis"
      )
    )

    it.effect(`${where}: has one leader of a queue, and says how long it had none`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const first = yield* join(storage)
          const second = yield* join(storage)
          const [taken] = yield* storage.take(first, [stackKey])
          assert.isAbove(taken?.leaderlessMillis ?? 0, 1e6)
          assert.isEmpty(yield* storage.take(second, [stackKey]))
          yield* storage.resign({ memberId: first, stackKey, fence: (taken?.fence ?? 0) - 1 })
          assert.isEmpty(yield* storage.take(second, [stackKey]))
          yield* storage.resign({ memberId: first, stackKey, fence: taken?.fence ?? 0 })
          const [next] = yield* storage.take(second, [stackKey, "nothing"])
          assert.isBelow(next?.leaderlessMillis ?? Number.POSITIVE_INFINITY, 100_000)
          yield* storage.leave(second)
          const [last] = yield* storage.take(first, [stackKey])
          assert.isUndefined(last?.leaderlessMillis)
          assert.strictEqual(last?.fence, 3)
          assert.isEmpty(yield* storage.take(second, ["s--r"]))
        })
      )
    )

    it.effect(`${where}: does nothing for a leader whose term is over`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const { idOf, memberId, term } = yield* leading(storage, "a")
          yield* storage.resign(term)
          const heir = yield* join(storage)
          yield* lead(storage, heir)
          yield* storage.remove(term, [{ jobUuid: "a", id: idOf("a") }])
          assert.isUndefined(yield* storage.save(term, [{ job: jobOf("b") }]))
          assert.isUndefined(yield* offer(storage, term, "a"))
          assert.isEmpty(yield* storage.load(term))
          assert.isEmpty(yield* storage.ended(memberId))
          assert.isEmpty(yield* claim(storage, heir))
        })
      )
    )

    it.effect(`${where}: makes a job ready once, and again after the dispatch that is done with`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const { memberId, term } = yield* leading(storage, "a")
          assert.isTrue(yield* offer(storage, term, "a"))
          assert.isFalse(yield* offer(storage, term, "a"))
          assert.isUndefined(yield* offer(storage, term, "none"))
          const [first] = yield* claim(storage, memberId)
          assert.deepStrictEqual(first?.job, jobOf("a"))
          const dispatch = first?.dispatch ?? 0
          assert.isFalse(yield* offer(storage, term, "a", dispatch))
          yield* storage.end(memberId, [{ dispatch, outcome: finished }])
          assert.isFalse(yield* offer(storage, term, "a", dispatch - 1))
          assert.isTrue(yield* offer(storage, term, "a", dispatch))
          const [second] = yield* claim(storage, memberId)
          assert.isAbove(second?.dispatch ?? 0, dispatch)
          // Orphaned.
          yield* storage.end(memberId, [{ dispatch: second?.dispatch ?? 0, outcome: undefined }])
          assert.isTrue(yield* offer(storage, term, "a", second?.dispatch))
        })
      )
    )

    it.effect(`${where}: takes an outcome from the owner of the dispatch, once`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const { memberId, term } = yield* leading(storage, "a", "b")
          const other = yield* join(storage)
          yield* offer(storage, term, "a")
          yield* offer(storage, term, "b")
          const claimed = yield* claim(storage, memberId)
          const dispatch = claimed.find(({ job }) => job.id === "a")?.dispatch ?? 0
          yield* storage.end(other, [{ dispatch, outcome: { _tag: "AgentOwned" } }])
          yield* storage.end(memberId, [{ dispatch: dispatch + 5, outcome: { _tag: "AgentOwned" } }])
          assert.isEmpty(yield* storage.ended(memberId))
          assert.isFalse(yield* storage.end(memberId, [{ dispatch, outcome: finished }]))
          yield* storage.end(memberId, [{ dispatch, outcome: { _tag: "Released", reason: "late" } }])
          yield* storage.end(memberId, [{ dispatch, outcome: undefined }])
          assert.deepStrictEqual(yield* storage.ended(memberId), [
            { stackKey, jobUuid: "a", dispatch, owner: memberId, outcome: finished }
          ])
          const { owned } = yield* storage.snapshot(memberId)
          assert.deepStrictEqual(
            owned.map(({ dispatch }) => dispatch),
            claimed.map(({ dispatch }) => dispatch).filter((each) => each !== dispatch)
          )
          const stored = yield* storage.load(term)
          assert.deepStrictEqual(
            stored.map(({ outcome }) => outcome),
            [finished, undefined]
          )
        })
      )
    )

    it.effect(`${where}: gives back a job under another dispatch number, and only its owner's`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const { memberId, term } = yield* leading(storage, "a")
          const other = yield* join(storage)
          yield* offer(storage, term, "a")
          const [first] = yield* claim(storage, memberId)
          const dispatch = first?.dispatch ?? 0
          yield* storage.giveBack(other, [dispatch])
          assert.isEmpty(yield* claim(storage, other))
          yield* storage.giveBack(memberId, [dispatch])
          const [again] = yield* claim(storage, memberId)
          assert.isAbove(again?.dispatch ?? 0, dispatch)
          // One that takes effect late.
          yield* storage.giveBack(memberId, [dispatch])
          assert.isEmpty(yield* claim(storage, other))
        })
      )
    )

    it.effect(`${where}: removes the row that is meant, and not one that was saved again`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const { idOf, memberId, term } = yield* leading(storage, "a", "b")
          const former = idOf("a")
          yield* storage.remove(term, [{ jobUuid: "a", id: former }])
          const again = yield* storage.save(term, [{ job: jobOf("a") }])
          assert.notStrictEqual(again?.get("a"), former)
          yield* storage.remove(term, [{ jobUuid: "a", id: former }])
          yield* offer(storage, term, "b")
          yield* storage.remove(term, [{ jobUuid: "b", id: undefined }])
          assert.lengthOf(yield* storage.load(term), 2)
          assert.lengthOf(yield* claim(storage, memberId), 1)
          // A job that is saved twice is one row, and keeps what it will be finished with.
          const finish = { exitStatus: -1, detail: "died", signalReason: "stack_error" }
          yield* storage.save(term, [{ job: jobOf("a"), finish }])
          assert.deepStrictEqual(yield* storage.save(term, [{ job: jobOf("a") }]), again)
          assert.deepStrictEqual((yield* storage.load(term))[0]?.finish, finish)
        })
      )
    )

    it.effect(`${where}: tells the owner of a running job why to stop, and not of a later run of it`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const { idOf, memberId, term } = yield* leading(storage, "a", "b")
          yield* offer(storage, term, "a")
          const stopOf = (jobUuid: string, dispatch: number) =>
            storage.requestStop(term, { jobUuid, id: idOf(jobUuid) ?? assert.fail(), dispatch }, "Canceled")
          assert.isUndefined(yield* stopOf("a", 0))
          const [claimed] = yield* claim(storage, memberId)
          const dispatch = claimed?.dispatch ?? 0
          assert.deepStrictEqual(yield* stopOf("a", 0), { dispatch, isTold: false })
          assert.deepStrictEqual((yield* storage.snapshot(memberId)).owned, [{ dispatch, stop: null }])
          assert.deepStrictEqual(yield* stopOf("a", dispatch), { dispatch, isTold: true })
          assert.isUndefined(yield* stopOf("b", dispatch))
          assert.deepStrictEqual((yield* storage.snapshot(memberId)).owned, [{ dispatch, stop: "Canceled" }])
          // A stop of the first run that takes effect during the second one.
          yield* storage.giveBack(memberId, [dispatch])
          const [again] = yield* claim(storage, memberId)
          const second = again?.dispatch ?? assert.fail()
          assert.deepStrictEqual(yield* stopOf("a", dispatch), { dispatch: second, isTold: false })
          const former = idOf("a") ?? assert.fail()
          yield* storage.remove(term, [{ jobUuid: "a", id: former }])
          yield* storage.save(term, [{ job: jobOf("a") }])
          yield* offer(storage, term, "a")
          const [third] = yield* claim(storage, memberId)
          assert.isUndefined(
            yield* storage.requestStop(term, { jobUuid: "a", id: former, dispatch: third?.dispatch ?? 0 }, "Canceled")
          )
          assert.deepStrictEqual((yield* storage.snapshot(memberId)).owned, [
            { dispatch: third?.dispatch ?? 0, stop: null }
          ])
        })
      )
    )

    it.effect(`${where}: bounds a claim by a number and by a share, and gives nothing to one who leaves`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const ids = Array.from({ length: 9 }, (_, index) => `job-${index}`)
          const { memberId, term } = yield* leading(storage, ...ids)
          for (const id of ids) yield* offer(storage, term, id)
          const other = yield* join(storage)
          yield* storage.heartbeat(other, { ...open, phase: "leaving" })
          assert.isEmpty(yield* storage.claim(other, [stackKey], 10, 1))
          assert.isEmpty(yield* storage.claim(memberId, ["s--r"], 10, 1))
          const first = yield* storage.claim(memberId, [stackKey], 2, 1)
          assert.sameMembers(
            first.map(({ job }) => job.id),
            ["job-0", "job-1"]
          )
          assert.lengthOf(yield* storage.claim(memberId, [stackKey], 10, 0.25), 2)
          assert.lengthOf(yield* storage.claim(memberId, [stackKey], 10, 1e-9), 1)
          assert.isTrue(yield* storage.end(memberId, []))
          assert.lengthOf(yield* storage.claim(memberId, [stackKey], 10, 1), 4)
          assert.isFalse(yield* storage.end(memberId, []))
        })
      )
    )

    it.effect(`${where}: sends hints for what has changed`, () =>
      run((storage) =>
        Effect.gen(function* () {
          const heard: Array<Hint> = []
          const listening = yield* storage.listen((hint) => void heard.push(hint)).pipe(Effect.scoped, Effect.forkChild)
          yield* until(Effect.map(storage.notify(Hint.Probe()), () => heard.length > 0))
          const { idOf, memberId, term } = yield* leading(storage, "a")
          const hint = Hint.Claim({ counts: new Map([[memberId, 1]]) })
          yield* storage.offer(term, [{ jobUuid: "a", after: 0 }], hint)
          const [claimed] = yield* claim(storage, memberId)
          const run = { jobUuid: "a", id: idOf("a") ?? assert.fail(), dispatch: claimed?.dispatch ?? 0 }
          yield* storage.requestStop(term, run, "Canceled")
          yield* storage.end(memberId, [{ dispatch: claimed?.dispatch ?? 0, outcome: finished }])
          yield* storage.remove(term, [{ jobUuid: "a", id: idOf("a") }])
          yield* storage.resign(term)
          yield* storage.leave(memberId)
          yield* until(Effect.sync(() => heard.filter(({ _tag }) => _tag === "Look").length >= 4))
          assert.deepStrictEqual(
            heard.filter(({ _tag }) => _tag !== "Probe"),
            [
              Hint.Look({ memberId: undefined }),
              hint,
              Hint.Look({ memberId }),
              Hint.Ended({ memberId }),
              Hint.Look({ memberId: undefined }),
              Hint.Look({ memberId: undefined })
            ]
          )
          yield* Fiber.interrupt(listening)
        })
      )
    )
  }
})
