/** The cluster's tables, and what is left of those of version 0.1. */
import { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

export const namesOf = (prefix: string) => ({
  members: `${prefix}_members`,
  leaders: `${prefix}_leaders`,
  jobs: `${prefix}_saved_jobs`,
  dispatches: `${prefix}_dispatches`,
  channel: `${prefix}_hints`
})

const migrations = (prefix: string) => {
  const { dispatches, jobs, leaders, members } = namesOf(prefix)
  return Migrator.fromRecord({
    "1_tables": Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`
        CREATE TABLE ${sql(members)} (
          id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          cluster_key TEXT NOT NULL,
          name TEXT NOT NULL,
          slots INTEGER NOT NULL,
          free INTEGER NOT NULL,
          phase TEXT NOT NULL,
          stack_keys JSONB NOT NULL,
          demands JSONB NOT NULL,
          beat TIMESTAMPTZ NOT NULL,
          until TIMESTAMPTZ NOT NULL
        )`
      // Without a leader, `freed_at` is when the last one resigned; null if it died.
      yield* sql`
        CREATE TABLE ${sql(leaders)} (
          stack_key TEXT PRIMARY KEY,
          leader INTEGER REFERENCES ${sql(members)} ON DELETE SET NULL,
          fence INTEGER NOT NULL DEFAULT 0,
          freed_at TIMESTAMPTZ,
          listed_at TIMESTAMPTZ NOT NULL
        )`
      yield* sql`CREATE INDEX ON ${sql(leaders)} (leader)`
      yield* sql`CREATE SEQUENCE ${sql(dispatches)}`
      yield* sql`
        CREATE TABLE ${sql(jobs)} (
          id BIGINT GENERATED ALWAYS AS IDENTITY,
          stack_key TEXT NOT NULL REFERENCES ${sql(leaders)} ON DELETE CASCADE,
          job_uuid TEXT NOT NULL,
          job TEXT NOT NULL,
          phase TEXT NOT NULL,
          dispatch BIGINT NOT NULL DEFAULT 0,
          owner INTEGER REFERENCES ${sql(members)} ON DELETE SET NULL,
          stop TEXT,
          outcome TEXT,
          finish TEXT,
          PRIMARY KEY (stack_key, job_uuid)
        )`
      yield* sql`CREATE INDEX ON ${sql(jobs)} (owner)`
      yield* sql`CREATE INDEX ON ${sql(jobs)} (dispatch) WHERE phase = 'ready'`
    })
  })
}

/**
 * The tables of version 0.1, its own and those of Effect's cluster, by suffix, and columns by which they are known: a user's own table
 * may have the same name.
 */
const former: Readonly<Record<string, ReadonlyArray<string>>> = {
  jobs: ["stack_key", "job_uuid", "answer"],
  queues: ["stack_key", "leader", "wanted", "until"],
  processes: ["process_id", "cluster_key", "until"],
  cluster_messages: ["message_id", "shard_id", "entity_type"],
  cluster_replies: ["request_id", "sequence", "acked"],
  cluster_runners: ["machine_id", "address", "runner"],
  cluster_locks: ["shard_id", "address", "acquired_at"]
}

/** The tables in which 0.1 kept its migrations. They look like those of any program that uses Effect's migrations. */
const formerMigrations = ["migrations", "cluster_migrations"]

/** The tables that version 0.1 has left. */
const findFormer = Effect.fnUntraced(function* (
  prefix: string
): Effect.fn.Return<ReadonlyArray<string>, SqlError, SqlClient.SqlClient> {
  const sql = yield* SqlClient.SqlClient
  const suffixes = [...Object.keys(former), ...formerMigrations]
  const tables = yield* sql<{ readonly name: string; readonly columns: ReadonlyArray<string> }>`
    SELECT table_name::text AS name, json_agg(column_name::text) AS columns FROM information_schema.columns
    WHERE table_schema = ANY (current_schemas(false)) AND ${sql.in(
      "table_name",
      suffixes.map((suffix) => `${prefix}_${suffix}`)
    )}
    GROUP BY table_name ORDER BY table_name`
  const isMigrations = (name: string) => formerMigrations.some((suffix) => name === `${prefix}_${suffix}`)
  const isFormer = ({ columns, name }: { readonly name: string; readonly columns: ReadonlyArray<string> }) =>
    former[name.slice(prefix.length + 1)]?.every((column) => columns.includes(column)) === true
  const names = tables.filter((table) => isFormer(table) || isMigrations(table.name)).map(({ name }) => name)
  return names.every(isMigrations) ? [] : names
})

/** Creates the tables. Fails while a process of version 0.1 is alive, and logs which of its tables are left. */
export const prepare = Effect.fnUntraced(function* (
  prefix: string
): Effect.fn.Return<void, SqlError | Migrator.MigrationError | InvalidOptions, SqlClient.SqlClient> {
  const sql = yield* SqlClient.SqlClient
  const left = yield* findFormer(prefix)
  if (left.includes(`${prefix}_processes`)) {
    const [row] = yield* sql<{ readonly alive: number }>`
      SELECT count(*)::int AS alive FROM ${sql(`${prefix}_processes`)} WHERE until > now()`
    if (row !== undefined && row.alive > 0) {
      return yield* new InvalidOptions({
        option: "tablePrefix",
        issue: `must be different while processes of version 0.1 run: ${row.alive} of them are alive. Stop all of them first`
      })
    }
  }
  if (left.length > 0) {
    yield* Effect.logWarning(`Tables of version 0.1 are left, and are not used any more. Drop them: ${left.join(", ")}`)
  }
  yield* Migrator.make({})({ loader: migrations(prefix), table: `${prefix}_schema` })
})
