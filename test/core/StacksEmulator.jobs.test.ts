import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { DateTime, Effect } from "effect"
import { TestClock } from "effect/testing"
import {
  addJobs,
  answer,
  emulated,
  finish,
  list,
  register,
  reserve,
  send,
  states,
  status
} from "../support/emulated.ts"

const at = (millis: number) => DateTime.makeUnsafe(millis)

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `job-${i}`)

describe("adding jobs", () => {
  it.effect("fills in default values", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("5 seconds")
      const [first, second] = yield* addJobs(
        { id: "full", command: "make", env: { A: "1" }, priority: 3, agentQueryRules: ["os=linux"], runnableAt: at(9) },
        { build: { number: 7 }, step: { key: "lint" } }
      )
      assert.deepInclude(first, {
        id: "full",
        queueKey: "q",
        state: "scheduled",
        command: "make",
        env: { A: "1" },
        priority: 3,
        agentQueryRules: ["os=linux"],
        runnableAt: at(9),
        scheduledAt: at(5000),
        step: { key: null }
      })
      assert.deepInclude(second, { command: "", env: {}, priority: 0, agentQueryRules: [], step: { key: "lint" } })
      assert.deepStrictEqual(second?.build, {
        ...first?.build,
        uuid: first?.build.uuid ?? null,
        branch: "main",
        number: 7
      })
      assert.deepStrictEqual(second?.pipeline, first?.pipeline)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("rejects a batch with a duplicate id", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs("a")
      for (const ids of [
        ["b", "a"],
        ["b", "b"]
      ]) {
        const added = yield* Effect.exit(addJobs(...ids))
        assert.include(String(added), `there is already a job with the id ${ids[1]}`)
      }
      assert.strictEqual((yield* emulator.jobs).length, 1)
    }).pipe(Effect.provide(emulated()))
  )
})

describe("listing scheduled jobs", () => {
  it.effect("shows the whole job on the wire", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs({
        id: "j",
        priority: -1,
        agentQueryRules: ["os=linux"],
        scheduledAt: at(0),
        runnableAt: at(60_000),
        pipeline: { slug: "p", uuid: null },
        build: { uuid: "b", number: null, branch: null }
      })
      const { body } = yield* send("GET", "stacks/s/scheduled-jobs?queue_key=q")
      const { cluster_queue, ...rest } = body as { cluster_queue: Record<string, unknown> }
      assert.deepStrictEqual(rest, {
        jobs: [
          {
            id: "j",
            priority: -1,
            agent_query_rules: ["os=linux"],
            scheduled_at: "1970-01-01T00:00:00.000Z",
            runnable_at: "1970-01-01T00:01:00.000Z",
            pipeline: { slug: "p", uuid: null },
            build: { uuid: "b", number: null, branch: null },
            step: { key: null }
          }
        ],
        page_info: { has_next_page: false, end_cursor: (yield* list()).pageInfo.endCursor }
      })
      assert.deepStrictEqual(cluster_queue, { id: cluster_queue["id"], dispatch_paused: false })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("lists the oldest jobs first, and jobs of the same age in the order of arrival", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs({ id: "c", scheduledAt: at(30) }, { id: "a", scheduledAt: at(10) })
      yield* addJobs({ id: "d", scheduledAt: at(30) }, { id: "b", scheduledAt: at(20) }, { id: "e", queueKey: "other" })
      assert.deepStrictEqual((yield* list()).ids, ["a", "b", "c", "d"])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("returns 100 jobs per page by default, and at most 1000", () =>
    Effect.gen(function* () {
      yield* register()
      const ids = numbered(1500)
      yield* addJobs(...ids)
      assert.deepStrictEqual((yield* list()).ids, ids.slice(0, 100))
      const page = yield* list({ limit: 1000 })
      assert.deepStrictEqual(page.ids, ids.slice(0, 1000))
      assert.isTrue(page.pageInfo.hasNextPage)
      const last = yield* list({ limit: 1000, after: page.pageInfo.endCursor ?? "" })
      assert.deepStrictEqual(last.ids, ids.slice(1000))
      assert.isFalse(last.pageInfo.hasNextPage)
      assert.isString(last.pageInfo.endCursor)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("reports no next page after a full last page, and no cursor on an empty page", () =>
    Effect.gen(function* () {
      yield* register()
      assert.deepStrictEqual((yield* list()).pageInfo, { hasNextPage: false, endCursor: null })
      yield* addJobs("a", "b")
      const page = yield* list({ limit: 2 })
      assert.isFalse(page.pageInfo.hasNextPage)
      const behind = yield* list({ after: page.pageInfo.endCursor ?? "" })
      assert.deepStrictEqual(behind.pageInfo, { hasNextPage: false, endCursor: null })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("continues after the cursor's job, even if earlier jobs come and go", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs(...["a", "b", "c", "d", "e"].map((id, i) => ({ id, scheduledAt: at(i * 10) })))
      const first = yield* list({ limit: 2 })
      assert.deepStrictEqual(first.ids, ["a", "b"])
      // The cursor's own job goes, one goes ahead of it, one comes behind it and one comes right after it.
      yield* reserve(["b", "d"])
      yield* addJobs({ id: "behind", scheduledAt: at(5) }, { id: "next", scheduledAt: at(10) })
      const second = yield* list({ limit: 10, after: first.pageInfo.endCursor ?? "" })
      assert.deepStrictEqual(second.ids, ["next", "c", "e"])
      assert.deepStrictEqual((yield* list()).ids, ["a", "behind", "next", "c", "e"])
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("returns 400 for an unknown cursor", () =>
    Effect.gen(function* () {
      yield* register()
      for (const after of ["nonsense", "%00", "MTIz", ""]) {
        assert.strictEqual(yield* status("GET", `stacks/s/scheduled-jobs?queue_key=q&after=${after}`), 400, after)
      }
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("lists the jobs of a paused queue, and those that may not run yet", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs({ id: "later", runnableAt: at(1_000_000) }, "now")
      yield* emulator.pauseQueue("q", true)
      const paused = yield* list()
      assert.isTrue(paused.clusterQueue.dispatchPaused)
      assert.deepStrictEqual(paused.ids, ["later", "now"])
      yield* emulator.pauseQueue("q", false)
      assert.isFalse((yield* list()).clusterQueue.dispatchPaused)
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("lists only scheduled jobs", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* register()
      yield* addJobs("scheduled", "reserved", "running", "canceling", "canceled", "finished")
      yield* reserve(["reserved"])
      yield* emulator.acquireJob("running")
      yield* emulator.acquireJob("canceling")
      yield* emulator.cancelJob("canceling")
      yield* emulator.cancelJob("canceled")
      yield* finish("finished")
      assert.deepStrictEqual((yield* list()).ids, ["scheduled"])
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ id, state }) => [id, state]),
        ["scheduled", "reserved", "running", "canceling", "canceled", "finished"].map((state) => [state, state])
      )
    }).pipe(Effect.provide(emulated()))
  )
})

describe("looking jobs up", () => {
  it.effect("returns a job's environment and command", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs({ id: "j", command: "make", env: { A: "ü", BIG: "x".repeat(200_000) } })
      assert.deepStrictEqual(yield* answer("GET", "stacks/s/jobs/j"), {
        status: 200,
        body: { id: "j", env: { A: "ü", BIG: "x".repeat(200_000) }, command: "make" }
      })
      assert.deepStrictEqual(yield* answer("GET", "stacks/s/jobs/unknown"), {
        status: 404,
        body: { message: "No job found with UUID unknown" }
      })
    }).pipe(Effect.provide(emulated()))
  )

  it.effect("returns the states of known jobs", () =>
    Effect.gen(function* () {
      yield* register()
      yield* addJobs("a", "b")
      yield* reserve(["b"], { seconds: 5 })
      assert.deepStrictEqual(yield* states("b", "unknown", "a"), {
        status: 200,
        body: { states: { b: "reserved", a: "scheduled" } }
      })
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual((yield* states("b")).body, { states: { b: "scheduled" } })
      assert.deepStrictEqual((yield* states()).body, { states: {} })
      assert.strictEqual((yield* states(...numbered(1000))).status, 200)
      assert.strictEqual((yield* states(...numbered(1001))).status, 422)
    }).pipe(Effect.provide(emulated()))
  )
})
