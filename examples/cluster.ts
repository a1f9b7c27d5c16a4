/**
 * A stack of three processes that share the work of two queues through a database. Here they are in one program; yours are on three
 * machines. One of them stops in the middle, and no job is lost or run twice.
 *
 *     DATABASE_URL=postgres://user:password@localhost/database node examples/cluster.ts
 *
 * It creates tables in that database whose names begin with stacksapi_example, and drops them at the end.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Config, Console, Effect, Exit, Layer, Logger, Scope } from "effect"
import { SqlClient } from "effect/sql"

const tablePrefix = "stacksapi_example"
const queues = ["linux", "deploy"]
const names = ["process 1", "process 2", "process 3"]

// The runner is the same as in a stack of one process.
const Runner = JobRunner.layer(() =>
  Effect.as(Effect.sleep("500 millis"), JobRunner.Finished({ exitStatus: 0, detail: "done" }))
)

// Counts how often each job started, and on which processes.
const begun = new Map<string, Array<string>>()

// All processes have the same key, queues and tables. Slots and names belong to one process.
const startProcess = (name: string) =>
  ClusterStack.make({
    key: "cluster-example",
    queues,
    slots: 4,
    name,
    tablePrefix,
    // How long a process may miss its heartbeats before the others take over. The default is 5 seconds; this machine may be busy.
    lockExpiration: "20 seconds",
    onEvent: (event) =>
      Effect.sync(() => {
        if (event._tag === "RunStarted") begun.set(event.job.id, [...(begun.get(event.job.id) ?? []), name])
      })
  })

const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(Effect.delay(condition, "50 millis"), { until: (holds) => holds })

const addJobs = (count: number) =>
  Effect.flatMap(StacksEmulator.StacksEmulator, ({ addJobs }) =>
    addJobs(Array.from({ length: count }, (_, index) => ({ queueKey: queues[index % 2] ?? "linux" })))
  )

const program = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const [firstName = "", ...otherNames] = names
  const leaving = yield* Scope.make()
  const first = yield* Scope.provide(startProcess(firstName), leaving)
  const others = yield* Effect.forEach(otherNames, startProcess)

  // Each process is a member of the cluster, and knows the others.
  const takePart = Effect.map(
    Effect.forEach([first, ...others], ({ status }) => status),
    (all) => all.every(({ phase, processes }) => phase === "running" && processes.length === all.length)
  )
  yield* until(takePart)
  yield* Console.log(`${names.length} processes with ${names.length * 4} slots`)

  yield* addJobs(24)
  yield* until(Effect.map(first.status, ({ running }) => running.length > 0))
  // SIGTERM has this effect: the process hands over its queues, and its jobs end.
  yield* Scope.close(leaving, Exit.void)
  yield* Console.log("one of them has left")

  yield* addJobs(12)
  yield* until(Effect.map(emulator.jobs, (jobs) => jobs.every(({ state }) => state === "finished")))
  const jobs = yield* emulator.jobs
  const once = Array.from(begun.values()).filter((names) => names.length === 1)
  yield* Console.log(`${jobs.length} jobs are finished, ${once.length} began once`)
  for (const name of names) {
    yield* Console.log(`${name} ran ${Array.from(begun.values()).filter((names) => names.includes(name)).length}`)
  }
}).pipe(Effect.scoped)

const dropTables = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const tables = yield* sql<{ readonly name: string }>`
    SELECT tablename AS name FROM pg_tables WHERE starts_with(tablename, ${`${tablePrefix}_`})`
  yield* Effect.forEach(tables, ({ name }) => sql`DROP TABLE ${sql(name)} CASCADE`, { discard: true })
})

const Emulated = Layer.provideMerge(NodeStacksEmulator.layerClient, NodeStacksEmulator.layer())

const withDatabase = Effect.ensuring(program, Effect.orDie(dropTables)).pipe(
  Effect.provide([Runner, Emulated, ClusterStack.layerDatabase]),
  Effect.provide(Logger.layer([]))
)

const hasDatabase = Config.option(Config.String("DATABASE_URL"))
NodeRuntime.runMain(
  Effect.flatMap(hasDatabase, ({ _tag }) =>
    _tag === "Some" ? withDatabase : Console.log("There is no database here: set DATABASE_URL to one of PostgreSQL")
  )
)
