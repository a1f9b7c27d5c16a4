/** Clusters whose members are several of one process, on a real database: who comes, who goes, and what is left. */
import { assert, layer } from "@effect/vitest"
import { JobRunner, RateLimit } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Deferred, Effect, Fiber, Layer } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { until } from "../support/cluster.ts"
import { addJobs, allOver, areOver, countBy, faults, isOver, options, withEmulator } from "../support/clusterFixture.ts"
import * as Members from "../support/clusterMembers.ts"
import { makeCuttableConnection } from "../support/cuttableConnection.ts"
import { inFrontOf } from "../support/pgbouncer.ts"
import * as Postgres from "../support/postgres.ts"

/** Nobody of these hangs: one that is starved for a while must not be taken for one that does. */
const patient = { ...options, lockExpiration: "1 minute" } as const

/** What is true of a process that dies must be of one that this machine starves. */
const again = { ...options, lockExpiration: "4 seconds", onProcessDeath: "retry" } as const

const passed = JobRunner.Finished({ exitStatus: 0, detail: "done" })

/** Ends all connections to the database but this one. */
const endConnections = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
)

/** The stacks that members lead. */
const led = (members: ReadonlyArray<Members.Member>) =>
  Effect.map(
    Effect.forEach(members, ({ status }) => status),
    (all) => all.map(({ leading }) => leading.map(({ stackKey }) => stackKey))
  )

// Five at a time, those that take longest first.
layer(Postgres.Server.layer, { excludeTestServices: true })("A cluster", (it) => {
  it.effect(
    "fails no job when it is restarted process by process",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { start, recorder } = yield* Members.onServer
          yield* addJobs(80, patient)
          const members = [yield* start(patient), yield* start(patient)]
          for (const [index, over] of [10, 40].entries()) {
            yield* areOver(over)
            const successor = yield* start(patient)
            yield* members[index]?.stop ?? Effect.void
            members[index] = successor
          }
          yield* allOver
          assert.isEmpty(yield* faults)
          assert.isEmpty(recorder.overlaps)
          assert.deepStrictEqual(new Set(recorder.begun.values()), new Set([1]))
        })
      ),
    { concurrent: true }
  )

  for (const onProcessDeath of ["fail", "retry"] as const) {
    it.effect(
      `loses no outcome of a process that leaves, though its connections break: ${onProcessDeath}`,
      () =>
        withEmulator(
          Effect.gen(function* () {
            const { databaseUrl, start, recorder } = yield* Members.onServer
            const mayEnd = yield* Deferred.make<void>()
            const run: Members.Run = () => Effect.as(Deferred.await(mayEnd), passed)
            yield* addJobs(10, patient)
            const first = yield* start({ ...patient, onProcessDeath }, { run })
            yield* until(Effect.sync(() => recorder.begun.size === 10))
            yield* start({ ...patient, onProcessDeath }, { run })
            const stopping = yield* Effect.forkChild(first.stop)
            yield* until(Effect.map(first.status, ({ phase }) => phase === "leaving"))
            yield* endConnections.pipe(Effect.provide(Postgres.layerClient(databaseUrl)))
            yield* Deferred.succeed(mayEnd, undefined)
            yield* Fiber.join(stopping)
            yield* allOver
            assert.isEmpty(yield* faults)
            assert.isEmpty(recorder.overlaps)
            assert.deepStrictEqual(new Set(recorder.begun.values()), new Set([1]))
          })
        ),
      { concurrent: true }
    )
  }

  it.effect(
    "does without a process that the network cuts off from the database, which stops before another one starts",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { databaseUrl, start, recorder } = yield* Members.onServer
          yield* addJobs(60, again)
          const connections = yield* Effect.all([
            makeCuttableConnection(databaseUrl),
            makeCuttableConnection(databaseUrl)
          ])
          const members = yield* Effect.forEach(connections, ({ url }) => start(again, { databaseUrl: url }))
          yield* areOver(10)
          const leader = (yield* led(members)).findIndex((stacks) => stacks.length > 0)
          const other = members.filter((_, index) => index !== leader)
          yield* connections[leader]?.cut ?? Effect.void
          yield* until(Effect.map(led(other), (all) => all.flat().length > 0))
          yield* areOver((yield* countBy(isOver)) + 10)
          yield* connections[leader]?.restore ?? Effect.void
          yield* allOver
          assert.isEmpty(yield* faults)
          assert.isEmpty(recorder.overlaps)
        })
      ),
    { concurrent: true }
  )

  it.effect(
    "goes on by itself when its database comes back, and runs nothing twice at a time",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const database = yield* Postgres.make
          const { start, recorder } = yield* Members.make(database.url)
          yield* addJobs(60, again)
          const members = [yield* start(again), yield* start(again)]
          yield* areOver(20)
          yield* database.stop
          // Nobody may go on for longer than this.
          yield* Effect.sleep(again.lockExpiration)
          assert.isEmpty((yield* Effect.forEach(members, ({ status }) => status)).flatMap(({ running }) => running))
          yield* database.start
          yield* allOver
          assert.isEmpty(yield* faults)
          assert.isEmpty(recorder.overlaps)
        })
      ),
    { concurrent: true }
  )

  it.effect(
    "leaves a job where it runs when processes join, however long it takes, and runs others meanwhile",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { start, recorder } = yield* Members.onServer
          const emulator = yield* StacksEmulator.StacksEmulator
          const [long] = yield* addJobs(1, patient, () => 0)
          const mayEnd = yield* Deferred.make<void>()
          const run: Members.Run = ({ job }) =>
            Effect.as(job.id === long?.id ? Deferred.await(mayEnd) : Effect.void, passed)
          const brief = { ...patient, shutdownGrace: "1 second" } as const
          const first = yield* start(brief, { run })
          yield* until(Effect.sync(() => recorder.begun.size === 1))
          const others = [yield* start(brief, { run }), yield* start(brief, { run })]
          // All three take jobs: whatever moves to those that joined has moved.
          yield* until(Effect.map(first.status, ({ processes }) => processes.length === 3))
          yield* addJobs(30, patient)
          yield* areOver(30)
          yield* others[0]?.stop ?? Effect.void
          yield* addJobs(10, patient)
          yield* areOver(40)
          assert.deepStrictEqual(
            (yield* first.status).running.map(({ id }) => id),
            [long?.id]
          )
          yield* Deferred.succeed(mayEnd, undefined)
          yield* allOver
          assert.isEmpty(yield* faults)
          assert.strictEqual(recorder.begun.get(long?.id ?? ""), 1)
          assert.strictEqual((yield* emulator.jobs).length, 41)
        })
      ),
    { concurrent: true }
  )

  it.effect(
    "spreads twenty queues over its processes, and takes over those of one that leaves",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const many = { ...patient, queues: Array.from({ length: 20 }, (_, n) => `q${n}`) }
          const { start, recorder } = yield* Members.onServer
          const members = [yield* start(many), yield* start(many), yield* start(many)]
          const isWhole = (members: ReadonlyArray<Members.Member>) =>
            Effect.map(led(members), (all) => all.flat().length === 20 && new Set(all.flat()).size === 20)
          yield* until(isWhole(members))
          const counts = (yield* led(members)).map((stacks) => stacks.length)
          // 7, 7 and 6 in most cases.
          assert.isAtLeast(Math.min(...counts), 4)
          yield* addJobs(60, many)
          yield* areOver(10)
          yield* members[0]?.stop ?? Effect.void
          yield* allOver
          yield* until(isWhole(members.slice(1)))
          assert.isEmpty(yield* faults)
          assert.isEmpty(recorder.overlaps)
        })
      ),
    { concurrent: true }
  )

  it.effect(
    "stops the runner of a job that is canceled, and keeps nothing of jobs that are over",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { databaseUrl, start } = yield* Members.onServer
          const emulator = yield* StacksEmulator.StacksEmulator
          const [canceled, again] = yield* addJobs(12, patient)
          const begun = yield* Deferred.make<void>()
          const stopped = yield* Deferred.make<void>()
          let tries = 0
          const run: Members.Run = ({ job }) => {
            if (job.id === canceled?.id) {
              return Deferred.succeed(begun, undefined).pipe(
                Effect.andThen(Effect.never),
                Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
              )
            }
            return job.id === again?.id && ++tries === 1
              ? Effect.fail(new JobRunner.JobRunnerError({ message: "Not now", isRetryable: true }))
              : Effect.succeed(passed)
          }
          const fast = { ...patient, stateInterval: "1 second" } as const
          yield* start(fast, { run })
          yield* start(fast, { run })
          yield* Deferred.await(begun)
          yield* emulator.cancelJob(canceled?.id ?? "")
          yield* Deferred.await(stopped)
          yield* areOver(11)
          assert.strictEqual(tries, 2)
          const isEmpty = Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const left = yield* sql`SELECT 1 FROM stacksapi_saved_jobs`
            return left.length === 0
          }).pipe(Effect.provide(Postgres.layerClient(databaseUrl)))
          yield* until(isEmpty)
        })
      ),
    { concurrent: true }
  )

  it.effect(
    "runs every job once behind a pooler that shares sessions",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { databaseUrl, start, recorder } = yield* Members.onServer
          const pooled = yield* inFrontOf(databaseUrl)
          yield* addJobs(60, patient)
          const members = [
            yield* start(patient, { databaseUrl: pooled }),
            yield* start(patient, { databaseUrl: pooled })
          ]
          yield* areOver(20)
          yield* members[0]?.stop ?? Effect.void
          yield* allOver
          assert.isEmpty(yield* faults)
          assert.isEmpty(recorder.overlaps)
          assert.deepStrictEqual(new Set(recorder.begun.values()), new Set([1]))
        })
      ),
    { concurrent: true }
  )

  it.effect(
    "goes on with its other queues where one does not exist",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { start } = yield* Members.onServer
          const two = { ...patient, queues: ["q", "gone"] }
          const members = [yield* start(two), yield* start(two)]
          const emulator = yield* StacksEmulator.StacksEmulator
          yield* until(Effect.map(emulator.requests, (all) => all.some(({ status }) => status === 404)))
          yield* addJobs(10, patient)
          yield* allOver
          assert.deepStrictEqual((yield* led(members)).flat(), ["s--q"])
        }),
        { queues: ["q"] }
      ),
    { concurrent: true }
  )

  it.effect(
    "keeps to the limits of the client that it was given",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { start } = yield* Members.onServer
          const limited = new Set<string>()
          const limiter: RateLimit.Limiter = {
            limit: ({ operation }, attempt) =>
              Effect.suspend(() => {
                limited.add(operation)
                return RateLimit.none.limit({ operation, stackKey: "" }, attempt)
              })
          }
          yield* addJobs(1, patient)
          yield* start(patient, { limits: Layer.succeed(RateLimit.RateLimit, limiter) })
          yield* allOver
          for (const operation of ["listScheduledJobs", "batchReserveJobs", "getJob", "finishJob"])
            assert.include(Array.from(limited), operation)
        })
      ),
    { concurrent: true }
  )

  it.effect(
    "refuses a process that can't be a part of it, and says why",
    () =>
      withEmulator(
        Effect.gen(function* () {
          const { start } = yield* Members.onServer
          const problemOf = (options: ClusterStack.Options) => Effect.map(Effect.flip(start(options)), String)
          yield* start(patient)
          assert.include(yield* problemOf({ ...patient, key: "other" }), "must be different for each cluster")
          assert.include(yield* problemOf({ ...options, queues: [] }), "at least one queue")
          assert.include(yield* problemOf({ ...options, queues: ["q", "q"] }), "s--q")
          assert.include(yield* problemOf({ ...options, slots: 0 }), "slots: must be a whole number of 1 or more")
        })
      ),
    { concurrent: true }
  )
})
