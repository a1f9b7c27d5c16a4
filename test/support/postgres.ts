/** A PostgreSQL server of the tests' own, on loopback, with its data in a temporary folder. */
import { execFileSync, spawn } from "node:child_process"
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Effect, Layer, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { freePort } from "./freePort.ts"

export interface Postgres {
  /** Of the database `postgres`. */
  readonly url: string
  /** Makes another database, and tells its URL. */
  readonly createDatabase: Effect.Effect<string>
  /** Stops the server, as for maintenance; its data stay. */
  readonly stop: Effect.Effect<void>
  /** Starts it; done when it answers. */
  readonly start: Effect.Effect<void>
}

/** The folder with the server's programs: on the path, or where Debian keeps them. */
const findBinaries = (): string => {
  const root = "/usr/lib/postgresql"
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  const folders = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    ...versions.map((version) => join(root, version, "bin"))
  ]
  const found = folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")))
  if (found === undefined)
    throw new Error("These tests need PostgreSQL: install it (Debian: apt-get install postgresql)")
  return found
}

/** The server does not run as root: there it is Debian's user for it. */
export const user = (): { readonly uid?: number; readonly gid?: number } => {
  if (process.getuid?.() !== 0) return {}
  const id = (flag: string) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }))
  return { uid: id("-u"), gid: id("-g") }
}

/** Patient: a machine that is busy takes its time. */
export const layerClient = (url: string) =>
  PgClient.layer({ url: Redacted.make(url), connectTimeout: "2 minutes", prepare: false })

/** A server that runs until the scope closes. With a password, only who has it gets in. */
export const makeWith = Effect.fnUntraced(function* (
  password?: string
): Effect.fn.Return<Postgres, never, Scope.Scope> {
  const port = yield* freePort
  const { binaries, data, folder, owner } = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const binaries = findBinaries()
      const owner = user()
      const folder = mkdtempSync(join(tmpdir(), "stacksapi-postgres-"))
      if (owner.uid !== undefined && owner.gid !== undefined) chownSync(folder, owner.uid, owner.gid)
      const data = join(folder, "data")
      const secret = join(folder, "password")
      if (password !== undefined) writeFileSync(secret, password)
      const access = password === undefined ? ["-A", "trust"] : ["-A", "scram-sha-256", "--pwfile", secret]
      execFileSync(join(binaries, "initdb"), ["-D", data, ...access, "-U", "postgres", "--no-sync"], {
        ...owner,
        cwd: folder,
        stdio: "ignore"
      })
      return { binaries, owner, folder, data }
    }),
    ({ folder }) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const control = (...args: ReadonlyArray<string>) =>
    Effect.callback<void>((resume) => {
      const child = spawn(join(binaries, "pg_ctl"), ["-D", data, "-w", ...args], {
        ...owner,
        cwd: folder,
        stdio: "ignore"
      })
      child.once("exit", (code) =>
        resume(code === 0 ? Effect.void : Effect.die(new Error(`pg_ctl ${args.at(-1)} ended with ${code}`)))
      )
    })
  const settings = `-p ${port} -c listen_addresses=127.0.0.1 -c max_connections=500 -c fsync=off -k ${folder}`
  const start = control("-o", settings, "-l", join(folder, "log"), "start")
  const stop = control("-m", "fast", "stop")
  yield* Effect.acquireRelease(start, () => Effect.ignoreCause(control("-m", "immediate", "stop")))
  const login = password === undefined ? "postgres" : `postgres:${password}`
  const urlOf = (database: string) => `postgres://${login}@127.0.0.1:${port}/${database}`
  let databases = 0
  return {
    url: urlOf("postgres"),
    createDatabase: Effect.gen(function* () {
      const name = `test${++databases}`
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE DATABASE ${sql(name)}`
      return urlOf(name)
    }).pipe(Effect.provide(layerClient(urlOf("postgres"))), Effect.orDie),
    start,
    stop
  }
})

export const make: Effect.Effect<Postgres, never, Scope.Scope> = makeWith()

/** A server for several tests, each with a database of its own. */
export class Server extends Context.Service<Server, Postgres>()("test/Postgres") {
  static readonly layer = Layer.effect(Server, make)
}

/** The names of the tables that are there. */
export const tablesOf = (url: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const tables = yield* sql<{ readonly tablename: string }>`SELECT tablename FROM pg_tables`
    return tables.map(({ tablename }) => tablename)
  }).pipe(Effect.provide(layerClient(url)))
