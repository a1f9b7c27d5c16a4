/** The steps of pipelines, as `buildkite-agent step` gets, updates and cancels them. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { begin, connect, finish } from "../support/agents.ts"
import { emulated } from "../support/emulated.ts"
import { labelOf } from "../support/rehearse.ts"

const provided = <A, E, R>(effect: Effect.Effect<A, E, R>) => effect.pipe(Effect.provide(emulated()))

const steps = [
  { command: "make", label: "Build", key: "build" },
  { wait: null, key: "all-built" },
  { block: "Deploy?", key: "ok" },
  { input: "Where?", key: "where", fields: [{ text: "Region", key: "region" }], depends_on: "build" },
  { trigger: "deploy", key: "deploy", label: "Deploy" },
  { command: "make left-out", key: "left-out", if: "false" },
  {
    group: "Checks",
    key: "checks",
    depends_on: "build",
    steps: [
      { command: "make lint", label: "Lint", key: "lint" },
      { command: "make unit", label: "Unit" }
    ]
  }
]

/** A build of the steps, and an agent that runs the job with the label. */
const running = Effect.fnUntraced(function* (label: string) {
  const { jobs } = yield* StacksEmulator.StacksEmulator
  const id = (yield* jobs).find((job) => labelOf(job) === label)?.id ?? ""
  const agent = yield* connect("bkct_emulator")
  yield* begin(agent, id)
  const get = (step: string, attribute: string) =>
    Effect.map(agent.ask("POST", `steps/${step}/export`, { body: { attribute } }), ({ body, status }) =>
      status === 200 ? body["output"] : status
    )
  /** The state and the outcome of each step. */
  const progress = Effect.fnUntraced(function* (...keys: ReadonlyArray<string>) {
    return yield* Effect.forEach(keys, (key) =>
      Effect.map(Effect.all([get(key, "state"), get(key, "outcome")]), (values) => values.join(" "))
    )
  })
  return { ...agent, id, get, progress }
})

const uploaded = Effect.flatMap(StacksEmulator.StacksEmulator, ({ uploadPipelines }) => uploadPipelines([{ steps }]))

describe("steps without jobs", () => {
  it.effect("are shown with their type, state and outcome", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* uploaded
      const build = yield* running("Build")
      const keys = ["all-built", "ok", "where", "deploy", "checks"]
      const types = yield* Effect.forEach(keys, (key) => build.get(key, "type"))
      assert.deepStrictEqual(types, ["wait", "block", "input", "trigger", "group"])
      assert.strictEqual(yield* build.get("ok", "label"), "Deploy?")
      assert.strictEqual(yield* build.get("ok", "command"), 422)
      assert.strictEqual(yield* build.get("left-out", "state"), 404)
      assert.deepStrictEqual(
        yield* build.progress(...keys),
        keys.map(() => "waiting_for_dependencies neutral")
      )
      yield* finish(build, build.id, 0)
      const lint = yield* running("Lint")
      assert.deepStrictEqual(yield* lint.progress(...keys), [
        "finished passed",
        "ready neutral",
        "ready neutral",
        "waiting_for_dependencies neutral",
        "running neutral"
      ])
      yield* emulator.unblock("ok")
      yield* emulator.unblock("deploy")
      yield* finish(lint, lint.id, 1)
      const unit = yield* running("Unit")
      assert.deepStrictEqual(yield* unit.progress("ok", "deploy", "checks"), [
        "finished passed",
        "finished passed",
        "failing hard_failed"
      ])
      yield* finish(unit, unit.id, 0)
      assert.deepStrictEqual(yield* unit.progress("checks"), ["finished hard_failed"])
    }).pipe(provided)
  )

  it.effect("change their label and notifications, but have no priority", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* uploaded
      const build = yield* running("Build")
      const update = (step: string, attribute: string, value: string) =>
        build.status("PUT", `steps/${step}`, { body: { attribute, value } })
      assert.strictEqual(yield* update("ok", "label", "Deploy now?"), 200)
      assert.strictEqual(yield* update("build", "label", "Compile"), 200)
      assert.strictEqual(yield* update("ok", "notify", "[]"), 200)
      assert.strictEqual(yield* update("ok", "priority", "1"), 422)
      assert.strictEqual(yield* update("build", "priority", "1"), 200)
      assert.strictEqual(yield* build.get("ok", "label"), "Deploy now?")
      // The emulator shows the same labels.
      const labels = (yield* emulator.steps).map(({ label }) => label)
      assert.includeMembers(labels, ["Deploy now?", "Compile"])
    }).pipe(provided)
  )

  it.effect("are canceled, a group with the jobs of its steps", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* uploaded
      const build = yield* running("Build")
      const cancel = (step: string) => build.status("POST", `steps/${step}/cancel`, { body: {} })
      for (const step of ["ok", "checks"]) assert.strictEqual(yield* cancel(step), 200)
      yield* finish(build, build.id, 0)
      assert.deepStrictEqual(yield* build.progress("ok", "deploy", "checks", "lint", "where"), [
        "finished errored",
        "finished errored",
        "finished errored",
        "finished errored",
        "ready neutral"
      ])
      assert.deepStrictEqual(
        (yield* emulator.jobs).map((job) => [labelOf(job), job.state]),
        [
          ["Build", "finished"],
          ["Lint", "canceled"],
          ["Unit", "canceled"]
        ]
      )
      // What has ended stays as it is.
      assert.strictEqual(yield* cancel("all-built"), 200)
      assert.deepStrictEqual(yield* build.progress("all-built"), ["finished passed"])
    }).pipe(provided)
  )
})

describe("updates of steps", () => {
  it.effect("that an agent repeats are applied once", () =>
    Effect.gen(function* () {
      yield* uploaded
      const build = yield* running("Build")
      const append = (idempotency_uuid: string, attribute: string, value: string) =>
        build.status("PUT", "steps/build", { body: { attribute, value, append: true, idempotency_uuid } })
      for (const id of ["first", "first", "second", "first"]) {
        assert.strictEqual(yield* append(id, "label", "!"), 200)
      }
      assert.strictEqual(yield* build.get("build", "label"), "Build!!")
      // One that was refused was not applied, so it may be corrected.
      assert.strictEqual(yield* append("third", "notify", "no list"), 422)
      for (let time = 0; time < 2; time++) assert.strictEqual(yield* append("third", "notify", "[1]"), 200)
      const { body } = yield* build.ask("POST", "steps/build/export", { body: { attribute: "notify", format: "json" } })
      assert.strictEqual(body["output"], "[1]")
    }).pipe(provided)
  )
})
