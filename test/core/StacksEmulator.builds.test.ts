import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { begin, connect, finish } from "../support/agents.ts"
import { addJobs, emulated } from "../support/emulated.ts"

const provided = <A, E, R>(effect: Effect.Effect<A, E, R>, options?: StacksEmulator.Options) =>
  effect.pipe(Effect.provide(emulated(options)))

const service = StacksEmulator.StacksEmulator

const running = Effect.fnUntraced(function* (job: string) {
  const agent = yield* connect("bkct_emulator")
  yield* begin(agent, job)
  return agent
})

const build = Effect.flatMap(service, ({ builds }) =>
  Effect.map(builds, ([build]) => {
    assert(build)
    return build
  })
)

const stateOf = (id: string) =>
  Effect.flatMap(service, ({ jobs }) => Effect.map(jobs, (jobs) => jobs.find((job) => job.id === id)?.state))

describe("meta-data", () => {
  it.effect("is set in batches, all of it or nothing", () =>
    Effect.gen(function* () {
      yield* addJobs("j")
      const agent = yield* running("j")
      const set = (items: ReadonlyArray<{ key: string; value: string }>) =>
        agent.status("POST", "jobs/j/data/set-batch", { body: { items } })
      assert.strictEqual(
        yield* set([
          { key: "a", value: "1" },
          { key: "", value: "2" }
        ]),
        422
      )
      assert.deepStrictEqual((yield* build).metaData, {})
      assert.strictEqual(
        yield* set([
          { key: "a", value: "1" },
          { key: "b", value: "" }
        ]),
        200
      )
      assert.deepStrictEqual((yield* build).metaData, { a: "1", b: "" })
    }).pipe(provided)
  )

  it.effect("is read by the id of a build too", () =>
    Effect.gen(function* () {
      yield* addJobs("j")
      const agent = yield* running("j")
      const { id } = yield* build
      yield* agent.ask("POST", "jobs/j/data/set", { body: { key: "a", value: "1" } })
      const key = { body: { key: "a" } }
      assert.containsSubset((yield* agent.ask("POST", `builds/${id}/data/get`, key)).body, { value: "1" })
      assert.deepStrictEqual((yield* agent.ask("POST", `builds/${id}/data/exists`, key)).body, { exists: true })
      assert.deepStrictEqual((yield* agent.ask("POST", `builds/${id}/data/keys`)).body, { text: '["a"]' })
      assert.strictEqual(yield* agent.status("POST", "builds/unknown/data/keys"), 404)
    }).pipe(provided)
  )
})

describe("annotations", () => {
  it.effect("are replaced or appended to by their context, and removed", () =>
    Effect.gen(function* () {
      yield* addJobs("j")
      const agent = yield* running("j")
      const annotate = (body: Record<string, unknown>) => agent.status("POST", "jobs/j/annotations", { body })
      assert.strictEqual(yield* annotate({ body: "first" }), 200)
      assert.strictEqual(yield* annotate({ body: "tests", context: "junit", style: "error", priority: 7 }), 200)
      assert.strictEqual(yield* annotate({ body: " failed", context: "junit", append: true }), 200)
      assert.strictEqual(yield* annotate({ body: "second" }), 200)
      assert.strictEqual(yield* annotate({ body: "of the job", scope: "job" }), 200)
      const shown = (yield* build).annotations.map(({ body, context, priority, scope, style }) => ({
        body,
        context,
        priority,
        scope,
        style
      }))
      assert.deepStrictEqual(shown, [
        { body: "second", context: "default", priority: 3, scope: "build", style: "default" },
        { body: "tests failed", context: "junit", priority: 7, scope: "build", style: "error" },
        { body: "of the job", context: "default", priority: 3, scope: "job", style: "default" }
      ])
      assert.strictEqual(yield* agent.status("DELETE", "jobs/j/annotations/junit?scope=build"), 204)
      assert.strictEqual(yield* agent.status("DELETE", "jobs/j/annotations/junit?scope=build"), 404)
      assert.strictEqual(yield* agent.status("DELETE", "jobs/j/annotations/default?scope=job"), 204)
      assert.lengthOf((yield* build).annotations, 1)
    }).pipe(provided)
  )

  it.effect("change their style alone, and are refused without a body or beyond 1 MiB", () =>
    Effect.gen(function* () {
      yield* addJobs("j")
      const agent = yield* running("j")
      const annotate = (body: Record<string, unknown>) => agent.status("POST", "jobs/j/annotations", { body })
      assert.strictEqual(yield* annotate({ style: "info" }), 422)
      assert.strictEqual(yield* annotate({ body: "x", style: "loud" }), 422)
      assert.strictEqual(yield* annotate({ body: "ä".repeat(512 * 1024) }), 200)
      assert.strictEqual(yield* annotate({ body: "x", append: true }), 422)
      assert.strictEqual(yield* annotate({ style: "success" }), 200)
      assert.containsSubset((yield* build).annotations[0], { style: "success", body: "ä".repeat(512 * 1024) })
    }).pipe(provided)
  )
})

describe("steps", () => {
  const addSteps = Effect.flatMap(service, ({ addJobs }) =>
    addJobs([
      { id: "a", queueKey: "q", label: "Tests", command: "make test", step: { key: "tests" } },
      { id: "b", queueKey: "q", label: "Tests", command: "make test", step: { key: "tests" } },
      { id: "c", queueKey: "q", command: "make", dependsOn: ["a"] }
    ])
  )

  it.effect("are shown by their id or key, as a text or as JSON", () =>
    Effect.gen(function* () {
      yield* addSteps
      const agent = yield* connect("bkct_emulator")
      const acquired = yield* agent.ask("PUT", "jobs/a/acquire")
      yield* agent.ask("PUT", "jobs/a/start")
      const env = acquired.body["env"] as Record<string, string>
      const get = (step: string, body: Record<string, unknown>) =>
        Effect.map(agent.ask("POST", `steps/${step}/export`, { body }), ({ body }) => body["output"])
      assert.strictEqual(yield* get(env["BUILDKITE_STEP_ID"] ?? "", { attribute: "label" }), "Tests")
      assert.strictEqual(yield* get("tests", { attribute: "state", build_id: env["BUILDKITE_BUILD_ID"] }), "running")
      assert.strictEqual(yield* get("tests", { attribute: "outcome" }), "neutral")
      assert.strictEqual(yield* get("tests", { attribute: "parallelism", format: "json" }), "2")
      assert.containsSubset(JSON.parse(String(yield* get("tests", { format: "json" }))), {
        key: "tests",
        label: "Tests",
        command: "make test"
      })
      for (const body of [{}, { attribute: "unknown" }]) {
        assert.strictEqual(yield* agent.status("POST", "steps/tests/export", { body }), 422)
      }
      assert.strictEqual(yield* agent.status("POST", "steps/unknown/export", { body: {} }), 404)
      yield* finish(agent, "a", 0)
      const other = yield* running("b")
      yield* finish(other, "b", 3)
      assert.strictEqual(yield* get("tests", { attribute: "state" }), "finished")
      assert.strictEqual(yield* get("tests", { attribute: "outcome" }), "hard_failed")
    }).pipe(provided)
  )

  it.effect("change their label, priority and notifications", () =>
    Effect.gen(function* () {
      yield* addSteps
      const agent = yield* running("a")
      const update = (attribute: string, value: string, append = false) =>
        agent.status("PUT", "steps/tests", { body: { attribute, value, append } })
      const get = (attribute: string) =>
        Effect.map(agent.ask("POST", "steps/tests/export", { body: { attribute, format: "json" } }), ({ body }) =>
          JSON.parse(String(body["output"]))
        )
      assert.strictEqual(yield* update("label", " (slow)", true), 200)
      assert.strictEqual(yield* get("label"), "Tests (slow)")
      assert.strictEqual(yield* update("priority", "5"), 200)
      assert.strictEqual(yield* get("priority"), 5)
      assert.strictEqual(yield* update("priority", "high"), 422)
      assert.strictEqual(yield* update("notify", '[{"slack":"#a"}]'), 200)
      assert.strictEqual(yield* update("notify", '[{"slack":"#b"}]', true), 200)
      assert.deepStrictEqual(yield* get("notify"), [{ slack: "#a" }, { slack: "#b" }])
      assert.strictEqual(yield* update("parallelism", "12"), 422)
    }).pipe(provided)
  )

  it.effect("are canceled, by force even if their agents do not end them", () =>
    Effect.gen(function* () {
      yield* addSteps
      const agent = yield* running("a")
      const canceled = yield* agent.ask("POST", "steps/tests/cancel", { body: { force: true, force_grace_period: 30 } })
      assert.strictEqual(canceled.status, 200)
      assert.strictEqual(yield* stateOf("b"), "canceled")
      assert.strictEqual(yield* stateOf("c"), "waiting")
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(yield* stateOf("a"), "canceling")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* stateOf("a"), "canceled")
      assert.strictEqual(yield* finish(agent, "a", 0), 422)
    }).pipe(provided)
  )
})

describe("builds", () => {
  it.effect("are canceled with all their jobs", () =>
    Effect.gen(function* () {
      const emulator = yield* service
      yield* addJobs("a", "b")
      yield* emulator.addJobs([{ id: "other", queueKey: "q", build: { uuid: "another-build" } }])
      const agent = yield* running("a")
      const { id } = yield* build
      assert.deepStrictEqual((yield* agent.ask("POST", `builds/${id}/cancel`)).body, { uuid: id })
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ state }) => state),
        ["canceling", "canceled", "scheduled"]
      )
      assert.strictEqual(yield* agent.status("POST", "builds/unknown/cancel"), 404)
    }).pipe(provided)
  )
})

describe("jobs", () => {
  it.effect("time out: their agents learn it and end them", () =>
    Effect.gen(function* () {
      const emulator = yield* service
      yield* emulator.addJobs([{ id: "j", queueKey: "q", timeout: "5 minutes" }])
      const agent = yield* connect("bkct_emulator")
      const acquired = yield* agent.ask("PUT", "jobs/j/acquire")
      assert.strictEqual((acquired.body["env"] as Record<string, string>)["BUILDKITE_TIMEOUT"], "5")
      yield* TestClock.adjust("1 minute")
      yield* agent.ask("PUT", "jobs/j/start")
      // Agents send heartbeats meanwhile.
      for (const _ of [1, 2, 3, 4]) {
        yield* TestClock.adjust("1 minute")
        yield* agent.ask("POST", "heartbeat", { body: {} })
      }
      assert.containsSubset((yield* agent.ask("GET", "jobs/j")).body, { state: "running" })
      yield* TestClock.adjust("1 minute")
      assert.containsSubset((yield* agent.ask("GET", "jobs/j")).body, { state: "timing_out" })
      assert.strictEqual(yield* finish(agent, "j", -1, { signal_reason: "cancel" }), 200)
      assert.containsSubset((yield* emulator.jobs)[0], { state: "timed_out", exitStatus: -1 })
    }).pipe(provided)
  )

  it.effect("get another timeout with `job update`, until they have ended", () =>
    Effect.gen(function* () {
      yield* addJobs("j")
      const agent = yield* running("j")
      const update = (body: Record<string, unknown>) => agent.status("PUT", "jobs/j", { body })
      for (const body of [{ timeout: "0" }, { timeout: "soon" }, { label: "x" }]) {
        assert.strictEqual(yield* update(body), 422)
      }
      assert.strictEqual(yield* update({ timeout: "20" }), 200)
      assert.strictEqual(yield* update({ timeout: "1" }), 200)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* stateOf("j"), "timing_out")
      yield* finish(agent, "j", 0)
      assert.strictEqual(yield* stateOf("j"), "timed_out")
      assert.strictEqual(yield* update({ timeout: "1" }), 422)
    }).pipe(provided)
  )

  it.effect("that promise a failure fail, whatever they report", () =>
    Effect.gen(function* () {
      const emulator = yield* service
      yield* addJobs("a", "b")
      for (const [job, reported, expected] of [
        ["a", 0, 42],
        ["b", 7, 7]
      ] as const) {
        const agent = yield* running(job)
        const promise = (exit_status: number) =>
          agent.status("PUT", `jobs/${job}/promise_failure`, { body: { exit_status } })
        assert.deepStrictEqual(yield* Effect.forEach([0, 42, 42, 43], promise), [422, 200, 200, 422])
        yield* finish(agent, job, reported)
        assert.strictEqual((yield* emulator.jobs).find(({ id }) => id === job)?.exitStatus, expected)
      }
    }).pipe(provided)
  )

  it.effect("read secrets, and nothing else of them is shown", () =>
    Effect.gen(function* () {
      const emulator = yield* service
      yield* addJobs("j")
      const agent = yield* running("j")
      const { body } = yield* agent.ask("GET", "jobs/j/secrets?key=deploy_key")
      assert.containsSubset(body, { key: "deploy_key", value: "s3cret" })
      for (const key of ["unknown", "constructor", ""]) {
        assert.strictEqual(yield* agent.status("GET", `jobs/j/secrets?key=${key}`), 404)
      }
      assert.notInclude(
        JSON.stringify([yield* emulator.requests, yield* emulator.jobs, yield* emulator.builds]),
        "s3cret"
      )
    }).pipe((effect) => provided(effect, { secrets: { deploy_key: Redacted.make("s3cret") } }))
  )

  it.effect("get the variables of their step, build and cluster", () =>
    Effect.gen(function* () {
      yield* addJobs("j")
      const agent = yield* connect("bkct_emulator")
      const { body } = yield* agent.ask("PUT", "jobs/j/acquire")
      const env = body["env"] as Record<string, string>
      for (const name of ["STEP_ID", "BUILD_ID", "CLUSTER_ID", "CLUSTER_NAME", "ORGANIZATION_SLUG", "COMPUTE_TYPE"]) {
        assert.isNotEmpty(env[`BUILDKITE_${name}`], name)
      }
    }).pipe(provided)
  )
})
