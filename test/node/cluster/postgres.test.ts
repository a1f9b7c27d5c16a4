/** What a cluster's database does that only PostgreSQL can show: locks, processes that join at the same moment, and left-over tables. */
import { assert, layer } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Logger } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import * as PostgresStorage from "../../../packages/node/src/internal/cluster/postgres.ts"
import { until } from "../../support/cluster.ts"
import * as Postgres from "../../support/postgres.ts"
import { join, leading, newMember, nobody, stackKey } from "../../support/storedQueue.ts"

/** A database of its own for a test. */
const inDatabase = <E>(test: (url: string) => Effect.Effect<void, E, SqlClient.SqlClient>) =>
  Effect.gen(function* () {
    const { createDatabase } = yield* Postgres.Server
    const url = yield* createDatabase
    yield* Effect.provide(test(url), Postgres.layerClient(url))
  })

const makeStorage = PostgresStorage.make("stacksapi", Duration.minutes(5))

/** Waits until so many statements wait for a lock. */
const areBlocked = (count: number) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    until(
      Effect.map(
        sql`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        (waiting) => waiting.length === count
      )
    )
  )

/** Runs statements in one transaction in the background, which ends with `end`. */
const transaction = Effect.fnUntraced(function* <A, E>(statements: Effect.Effect<A, E>) {
  const sql = yield* SqlClient.SqlClient
  const isDone = yield* Deferred.make<A, E>()
  const mayEnd = yield* Deferred.make<void>()
  const fiber = yield* statements.pipe(
    Effect.onExit((exit) => Deferred.done(isDone, exit)),
    Effect.andThen(Deferred.await(mayEnd)),
    sql.withTransaction,
    Effect.forkChild
  )
  return {
    result: yield* Deferred.await(isDone),
    end: Effect.andThen(Deferred.succeed(mayEnd, undefined), Fiber.join(fiber))
  }
})

layer(Postgres.Server.layer, { excludeTestServices: true })("PostgreSQL as a cluster's database", (it) => {
  it.effect("gives two processes that claim at the same moment different jobs", () =>
    inDatabase(() =>
      Effect.gen(function* () {
        const storage = yield* makeStorage
        const ids = Array.from({ length: 60 }, (_, index) => `job-${index}`)
        const { memberId, term } = yield* leading(storage, ...ids)
        const other = yield* join(storage)
        yield* storage.offer(
          term,
          ids.map((jobUuid) => ({ jobUuid, after: 0 })),
          nobody
        )
        const claims = yield* Effect.forEach(
          Array.from({ length: 12 }, (_, index) => (index % 2 === 0 ? memberId : other)),
          (member) => storage.claim(member, [stackKey], 5, 1),
          { concurrency: "unbounded" }
        )
        const rest = yield* storage.claim(memberId, [stackKey], 60, 1)
        assert.deepStrictEqual([...claims.flat(), ...rest].map(({ job }) => job.id).sort(), ids.toSorted())
      })
    )
  )

  it.effect("replaces no leader whose statement is under way before the statement has ended", () =>
    inDatabase(() =>
      Effect.gen(function* () {
        const storage = yield* makeStorage
        const sql = yield* SqlClient.SqlClient
        const { memberId, term } = yield* leading(storage, "a")
        const heir = yield* join(storage)
        const saving = yield* transaction(
          sql`SELECT 1 FROM stacksapi_leaders WHERE leader = ${memberId}::int FOR SHARE`
        )
        const resigning = yield* Effect.forkChild(storage.resign(term))
        yield* areBlocked(1)
        assert.isEmpty(yield* storage.take(heir, [stackKey]))
        yield* saving.end
        yield* Fiber.join(resigning)
        assert.lengthOf(yield* storage.take(heir, [stackKey]), 1)
      })
    )
  )

  it.effect("removes a dead leader although its read of all jobs is still under way", () =>
    inDatabase(() =>
      Effect.gen(function* () {
        const storage = yield* makeStorage
        const sql = yield* SqlClient.SqlClient
        const { memberId, term } = yield* leading(storage, "a")
        const heir = yield* join(storage)
        // A process that is suspended while it receives the result keeps the locks of its statement.
        const loading = yield* transaction(storage.load(term))
        assert.lengthOf(loading.result, 1)
        yield* sql`UPDATE stacksapi_members SET until = now() WHERE id = ${memberId}::int`
        yield* storage.deleteExpired
        assert.lengthOf(yield* storage.take(heir, [stackKey]), 1)
        yield* loading.end
      })
    )
  )

  it.effect("removes queues that nobody has listed for a day, with their jobs", () =>
    inDatabase(() =>
      Effect.gen(function* () {
        const storage = yield* makeStorage
        const sql = yield* SqlClient.SqlClient
        const { memberId, term } = yield* leading(storage, "a")
        yield* sql`UPDATE stacksapi_leaders SET listed_at = now() - interval '25 hours'`
        yield* storage.collectGarbage
        assert.lengthOf(yield* storage.load(term), 1)
        yield* storage.leave(memberId)
        yield* sql`UPDATE stacksapi_leaders SET listed_at = now() - interval '25 hours'`
        yield* storage.collectGarbage
        assert.isEmpty(yield* sql`SELECT 1 FROM stacksapi_saved_jobs`)
        assert.isEmpty(yield* sql`SELECT 1 FROM stacksapi_leaders`)
      })
    )
  )

  for (const [what, listedAt] of [
    ["listed", "now()"],
    ["unlisted", "now() - interval '2 days'"]
  ] as const) {
    it.effect(`locks ${what} queues in the order of their keys, so that no two processes wait for each other`, () =>
      inDatabase(() =>
        Effect.gen(function* () {
          const storage = yield* makeStorage
          const sql = yield* SqlClient.SqlClient
          const lock = (key: string) => sql`SELECT 1 FROM stacksapi_leaders WHERE stack_key = ${key} FOR UPDATE`
          if (what === "listed") yield* storage.join({ ...newMember, stackKeys: ["a", "b"] })
          // In the table the queues have the other order.
          yield* sql`DELETE FROM stacksapi_leaders`
          for (const key of ["b", "a"]) {
            yield* sql`INSERT INTO stacksapi_leaders (stack_key, listed_at) VALUES (${key}, ${sql.literal(listedAt)})`
          }
          const isLocked = yield* Deferred.make<void>()
          const mayLock = yield* Deferred.make<void>()
          const locking = yield* lock("a").pipe(
            Effect.andThen(Deferred.succeed(isLocked, undefined)),
            Effect.andThen(Deferred.await(mayLock)),
            // If the collection held `b`, this would be a deadlock.
            Effect.andThen(lock("b")),
            sql.withTransaction,
            Effect.forkChild
          )
          yield* Deferred.await(isLocked)
          const collecting = yield* Effect.forkChild(storage.collectGarbage)
          yield* areBlocked(1)
          yield* Deferred.succeed(mayLock, undefined)
          yield* Fiber.join(locking)
          yield* Fiber.join(collecting)
        })
      )
    )
  }

  it.effect("adds at most one of two processes with different keys that join empty tables at the same moment", () =>
    inDatabase(() =>
      Effect.gen(function* () {
        const storage = yield* makeStorage
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO stacksapi_leaders (stack_key, listed_at) VALUES (${stackKey}, now())`
        const held = yield* transaction(sql`SELECT 1 FROM stacksapi_leaders FOR UPDATE`)
        const joining = yield* Effect.forEach(["s", "t"], (clusterKey) =>
          Effect.forkChild(storage.join({ ...newMember, clusterKey }))
        )
        // Both have seen empty tables.
        yield* areBlocked(2)
        yield* held.end
        const joined = yield* Effect.forEach(joining, (fiber) => Fiber.join(fiber))
        const added = joined.filter((each) => "memberId" in each)
        assert.isAtMost(added.length, 1)
        assert.lengthOf(yield* sql`SELECT 1 FROM stacksapi_members`, added.length)
      })
    )
  )

  const inDatabaseWithLogs = (
    test: (logged: ReadonlyArray<string>) => Effect.Effect<void, unknown, SqlClient.SqlClient>
  ) =>
    Effect.suspend(() => {
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      return inDatabase(() => Effect.provide(test(logged), Logger.layer([logger])))
    })

  it.effect("names the tables of version 0.1 that are left, and refuses to start beside its processes", () =>
    inDatabaseWithLogs((logged) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE stacksapi_processes (process_id TEXT, cluster_key TEXT, until TIMESTAMPTZ NOT NULL)`
        yield* sql`CREATE TABLE stacksapi_cluster_messages (message_id TEXT, shard_id TEXT, entity_type TEXT)`
        yield* sql`CREATE TABLE stacksapi_migrations (migration_id INT, created_at TIMESTAMPTZ, name TEXT)`
        yield* sql`INSERT INTO stacksapi_processes VALUES ('1', 's', now() + interval '1 minute')`
        const error = yield* Effect.flip(makeStorage)
        assert.include(error.message, "processes of version 0.1 run: 1 of them are alive. Stop all of them first")
        yield* sql`UPDATE stacksapi_processes SET until = now()`
        yield* makeStorage
        assert.lengthOf(logged, 1)
        assert.include(logged[0], "stacksapi_cluster_messages, stacksapi_migrations, stacksapi_processes")
      })
    )
  )

  it.effect("leaves tables of the user alone that have the names of those of version 0.1", () =>
    inDatabaseWithLogs((logged) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE stacksapi_jobs (id INT, title TEXT)`
        yield* sql`CREATE TABLE stacksapi_queues (id INT, until TIMESTAMPTZ)`
        yield* sql`CREATE TABLE stacksapi_processes (id INT)`
        yield* sql`CREATE TABLE stacksapi_migrations (migration_id INT, created_at TIMESTAMPTZ, name TEXT)`
        yield* makeStorage
        assert.isEmpty(logged)
      })
    )
  )
})
