/** What a cluster does with values that nobody expected: outcomes of runners, rows of other versions, and its own defects. */
import { assert, describe, it, layer } from "@effect/vitest"
import { JobRunner } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Duration, Effect, Fiber } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Hint } from "../../../packages/node/src/internal/cluster/hints.ts"
import * as PostgresStorage from "../../../packages/node/src/internal/cluster/postgres.ts"
import type { Storage } from "../../../packages/node/src/internal/cluster/storage.ts"
import { jobOf } from "../../support/clusterStorage.ts"
import * as Postgres from "../../support/postgres.ts"
import * as Simulated from "../../support/simulatedCluster.ts"

const { during, simulated, until } = Simulated

const passed = JobRunner.Finished({ exitStatus: 0, detail: "done" })

describe("A cluster whose runner returns an outcome that can't be sent", () => {
  for (const [what, outcome, detail] of [
    [
      "an exit status that is not whole",
      JobRunner.Finished({ exitStatus: 1.5, detail: "odd" }),
      "The runner's outcome can't be sent: exitStatus must be a whole number of 32 bits, not 1.5"
    ],
    [
      "an exit status that is no number",
      JobRunner.Finished({ exitStatus: Number.NaN, detail: "odd" }),
      "The runner's outcome can't be sent: exitStatus must be a whole number of 32 bits, not NaN"
    ],
    [
      "no outcome at all",
      undefined as never,
      "The runner's outcome can't be sent: an outcome must be AgentOwned, Finished or Released, not undefined"
    ]
  ] as const) {
    it.effect(`fails that job, and finishes the others: ${what}`, () =>
      simulated(
        Effect.gen(function* () {
          const cluster = yield* Simulated.make
          const { jobs } = yield* StacksEmulator.StacksEmulator
          let runs = 0
          yield* cluster.start({ run: () => Effect.sync(() => (runs++ === 0 ? outcome : passed)) })
          yield* cluster.addJobs(4)
          yield* until(cluster.allOver, 1)
          const failed = (yield* jobs).filter(({ exitStatus }) => exitStatus !== 0)
          assert.deepStrictEqual(
            failed.map(({ detail, exitStatus }) => ({ detail, exitStatus })),
            [{ detail, exitStatus: -1 }]
          )
        })
      )
    )
  }
})

describe("A process of a cluster fails, so that its supervisor restarts it and others take over,", () => {
  const operations: ReadonlyArray<keyof Storage> = [
    "heartbeat",
    "snapshot",
    "take",
    "load",
    "offer",
    "ended",
    "claim",
    "end"
  ]
  for (const operation of operations) {
    it.effect(`when a loop of it dies in the statement ${operation}`, () =>
      simulated(
        Effect.gen(function* () {
          const cluster = yield* Simulated.make
          // A process takes and loads a queue when it starts, and does the rest later.
          let isArmed = operation === "take" || operation === "load"
          const next = (name: keyof Storage) => {
            if (name === operation && isArmed) throw new Error("a defect")
            return undefined
          }
          const odd = yield* cluster.start({ faults: { latency: () => 0, next } })
          const failed = yield* Effect.forkChild(Effect.exit(odd.awaitFailure))
          isArmed = true
          yield* cluster.addJobs(4, 500)
          yield* until(
            Effect.sync(() => failed.pollUnsafe() !== undefined),
            1
          )
          assert.include(String(yield* Fiber.join(failed)), "a defect")
          isArmed = false
          yield* during(odd.stop)
          yield* cluster.start()
          yield* until(cluster.allOver)
          assert.isEmpty(yield* cluster.violations)
        })
      )
    )
  }
})

layer(Postgres.Server.layer, { excludeTestServices: true })("A row that another version has written", (it) => {
  it.effect("is skipped, or counts as failed, and the others are read", () =>
    Effect.gen(function* () {
      const { createDatabase } = yield* Postgres.Server
      const url = yield* createDatabase
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const storage = yield* PostgresStorage.make("stacksapi", Duration.minutes(5))
        const stackKey = "s--q"
        const joined = yield* storage.join({ clusterKey: "s", name: "one", slots: 4, stackKeys: [stackKey] })
        const memberId = "memberId" in joined ? joined.memberId : assert.fail()
        const [taken] = yield* storage.take(memberId, [stackKey])
        const term = { memberId, stackKey, fence: taken?.fence ?? assert.fail() }
        const ids = ["a", "b", "c"]
        yield* storage.save(
          term,
          ids.map((id) => ({ job: jobOf(id) }))
        )
        const entries = ids.map((jobUuid) => ({ jobUuid, after: 0 }))
        yield* storage.offer(term, entries, Hint.Claim({ counts: new Map() }))
        yield* sql`UPDATE stacksapi_saved_jobs SET job = '{"id":"a","form":"new"}' WHERE job_uuid = 'a'`
        const claimed = yield* storage.claim(memberId, [stackKey], 10, 1)
        assert.deepStrictEqual(claimed.map(({ job }) => job.id).sort(), ["b", "c"])
        yield* storage.end(
          memberId,
          claimed.map(({ dispatch }) => ({ dispatch, outcome: passed }))
        )
        yield* sql`UPDATE stacksapi_saved_jobs SET outcome = '{"_tag":"Postponed"}' WHERE job_uuid = 'b'`
        const outcomes = new Map(
          (yield* storage.ended(memberId)).map(({ jobUuid, outcome }) => [jobUuid, outcome?._tag])
        )
        assert.deepStrictEqual(
          outcomes,
          new Map([
            ["b", "Failed"],
            ["c", "Finished"]
          ])
        )
        const loaded = yield* storage.load(term)
        assert.deepStrictEqual(
          loaded.map(({ job, outcome }) => [job.id, outcome?._tag]),
          [
            ["b", "Failed"],
            ["c", "Finished"]
          ]
        )
      }).pipe(Effect.provide(Postgres.layerClient(url)))
    })
  )
})
