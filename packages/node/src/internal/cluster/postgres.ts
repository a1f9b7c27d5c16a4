/** The cluster's storage in PostgreSQL. */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { MigrationError } from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Hints from "./hints.ts"
import { leadership, membership } from "./postgresMembers.ts"
import { ownJobs } from "./postgresOwnJobs.ts"
import { dispatchedJobs, savedJobs } from "./postgresQueueJobs.ts"
import { notify, run, type Tables } from "./postgresStatements.ts"
import { namesOf, prepare } from "./schema.ts"
import type { Storage } from "./storage.ts"

/** How long to wait for a connection beside the listener's. */
const secondConnectionTimeout = "2500 millis"

/** Creates the tables. */
export const make = Effect.fnUntraced(function* (
  prefix: string,
  expiration: Duration.Duration
): Effect.fn.Return<Storage, SqlError | MigrationError | InvalidOptions, SqlClient.SqlClient> {
  const client = yield* SqlClient.SqlClient
  const sql = client.withoutTransforms()
  yield* Effect.provideService(prepare(prefix), SqlClient.SqlClient, sql)
  const names = namesOf(prefix)
  const tables: Tables = {
    sql,
    members: sql(names.members),
    leaders: sql(names.leaders),
    jobs: sql(names.jobs),
    nextDispatch: sql.literal(`nextval('"${names.dispatches}"')`),
    expiresAt: sql.literal(`now() + interval '${Duration.toMillis(expiration)} milliseconds'`),
    channel: names.channel
  }
  const postgres = Context.getOrUndefined(yield* Effect.context<never>(), PgClient.PgClient)
  return {
    ...membership(tables),
    ...leadership(tables),
    ...savedJobs(tables),
    ...dispatchedJobs(tables),
    ...ownJobs(tables),
    ...hints(tables, postgres),
    collectGarbage: collectGarbage(tables)
  }
})

const hints = (tables: Tables, postgres: PgClient.PgClient | undefined): Pick<Storage, "listen" | "notify"> => {
  const { channel, sql } = tables
  return {
    listen: (onHint) =>
      postgres === undefined
        ? Effect.never
        : Effect.gen(function* () {
            const queue = yield* postgres.listen(channel)
            // The listener keeps a connection for itself, and must not take the only one.
            yield* Effect.timeout(sql`SELECT 1`, secondConnectionTimeout)
            while (true) onHint(Hints.decode((yield* Queue.take(queue)).payload))
          }).pipe(run),
    notify: (hint) => Effect.asVoid(run(sql`SELECT ${notify(tables, hint)}`))
  }
}

/** Rows are locked in the order of their keys, as in `join` and `take`, so that two processes can't wait for each other. */
const collectGarbage = ({ leaders, members, sql }: Tables): Storage["collectGarbage"] =>
  run(
    Effect.gen(function* () {
      yield* sql`
        WITH listed AS (
          SELECT stack_key FROM ${leaders}
          WHERE stack_key IN (SELECT jsonb_array_elements_text(stack_keys) FROM ${members})
          ORDER BY stack_key FOR UPDATE
        )
        UPDATE ${leaders} AS queue SET listed_at = now() FROM listed WHERE queue.stack_key = listed.stack_key`
      // The jobs of a queue are deleted with it.
      yield* sql`
        WITH unlisted AS (
          SELECT stack_key FROM ${leaders} WHERE leader IS NULL AND listed_at < now() - interval '1 day'
          ORDER BY stack_key FOR UPDATE
        )
        DELETE FROM ${leaders} AS queue USING unlisted WHERE queue.stack_key = unlisted.stack_key`
    })
  )
