/** What a database has done, and who is connected. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import * as Postgres from "../../test/support/postgres.ts"

export const usageOf = (url: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql<{ readonly commits: number; readonly connections: number }>`
      SELECT sum(xact_commit)::int AS commits,
        (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS connections
      FROM pg_stat_database`
    return row ?? { commits: 0, connections: 0 }
  }).pipe(Effect.provide(Postgres.layerClient(url)), Effect.orDie)
