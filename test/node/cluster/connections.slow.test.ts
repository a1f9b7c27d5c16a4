/** A process of a cluster and its connections to PostgreSQL: how many it opens, and what it says when it may not use the database. */

import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Effect, Redacted } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { until } from "../../support/cluster.ts"
import { addJobs, allOver, faults, options, withEmulator } from "../../support/clusterFixture.ts"
import * as Members from "../../support/clusterMembers.ts"
import * as Postgres from "../../support/postgres.ts"

const patient: ClusterStack.Options = { ...options, queues: ["q", "r"], lockExpiration: "1 minute" }

/** The limit of a client that is given none. */
const defaultLimit = 10

/** How many connections to its database a process has open at a time, while something is done. */
const mostDuring = Effect.fnUntraced(function* <E, R>(database: string, effect: Effect.Effect<void, E, R>) {
  const sql = yield* SqlClient.SqlClient
  let most = 0
  const count = Effect.gen(function* () {
    const rows = yield* sql`SELECT 1 FROM pg_stat_activity WHERE datname = ${database}`
    most = Math.max(most, rows.length)
  })
  yield* Effect.raceFirst(effect, Effect.forever(Effect.delay(count, "10 millis")))
  yield* count
  return most
})

const limited = (url: string, maxConnections: number) =>
  PgClient.layer({ url: Redacted.make(url), connectTimeout: "2 minutes", prepare: false, maxConnections })

layer(Postgres.Server.layer, { excludeTestServices: true })("A process of a cluster", (it) => {
  for (const maxConnections of [1, 3, undefined]) {
    it.effect(
      `opens no more connections than its client allows: ${maxConnections ?? "by default 10"}`,
      () =>
        withEmulator(
          Effect.gen(function* () {
            const { url } = yield* Postgres.Server
            const { databaseUrl, start } = yield* Members.onServer
            const database = maxConnections === undefined ? undefined : limited(databaseUrl, maxConnections)
            const work = Effect.gen(function* () {
              yield* start(patient, { database })
              yield* addJobs(20, patient, () => 50)
              yield* allOver
            })
            const most = yield* mostDuring(new URL(databaseUrl).pathname.slice(1), work).pipe(
              Effect.provide(Postgres.layerClient(url))
            )
            assert.isAtLeast(most, Math.min(2, maxConnections ?? 2))
            assert.isAtMost(most, maxConnections ?? defaultLimit)
            assert.isEmpty(yield* faults)
          })
        ),
      { concurrent: true }
    )
  }

  it.effect(
    "opens no more connections than its client allows while its statements hang",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { url } = yield* Postgres.Server
          const { databaseUrl, start } = yield* Members.onServer
          const database = new URL(databaseUrl).pathname.slice(1)
          const member = yield* start({ ...patient, lockExpiration: "3 seconds" })
          yield* until(Effect.map(member.status, ({ leading }) => leading.length === 2))
          const isCutOff = until(Effect.map(member.status, ({ phase }) => phase === "partitioned"))
          const hang = Effect.flatMap(SqlClient.SqlClient, (sql) =>
            sql`LOCK TABLE stacksapi_members, stacksapi_leaders, stacksapi_saved_jobs`.pipe(
              Effect.andThen(addJobs(20, patient)),
              Effect.andThen(isCutOff),
              sql.withTransaction
            )
          ).pipe(Effect.provide(limited(databaseUrl, 1)))
          const most = yield* Effect.provide(mostDuring(database, hang), Postgres.layerClient(url))
          // One more is that of this test.
          assert.isAtMost(most, defaultLimit + 1)
          yield* allOver
        })
      ),
    { concurrent: true }
  )

  it.effect("ends at its start with the error of the database when a right is missing", () =>
    withEmulator(
      Effect.gen(function* () {
        const { databaseUrl, start } = yield* Members.onServer
        yield* (yield* start(patient)).stop
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE ROLE limited LOGIN`
          yield* sql`GRANT ALL ON ALL TABLES IN SCHEMA public TO limited`
          yield* sql`REVOKE INSERT ON stacksapi_members FROM limited`
        }).pipe(Effect.provide(Postgres.layerClient(databaseUrl)))
        const url = new URL(databaseUrl)
        url.username = "limited"
        const error = yield* Effect.flip(start(patient, { databaseUrl: url.href }))
        assert.strictEqual(error._tag, "SqlError")
        assert.include(
          String("reason" in error ? error.reason.cause : error),
          "permission denied for table stacksapi_members"
        )
      })
    )
  )
})
