/** How the service runs a pipeline: failures, blocks, triggers, groups and uploads. */
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { labelOf, rounds, statesOf } from "../support/rehearse.ts"
import { begin, end, jobOf, listed, problemOf, started, stepStates } from "../support/startedPipeline.ts"

describe("after a failure", () => {
  it.effect("nothing behind a wait runs, not even what may follow failures of later steps", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { command: "a" },
        "wait",
        { command: "b" },
        { wait: null, continue_on_failure: true },
        { command: "c" }
      )
      yield* rounds(emulator, { a: 1 })
      assert.deepStrictEqual(yield* statesOf(emulator), { a: "finished", b: "waiting_failed", c: "waiting_failed" })
    }).pipe(Effect.scoped)
  )

  it.effect("what is behind a wait that continues runs, up to the next one that does not", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { command: "a" },
        { wait: null, continue_on_failure: true },
        { command: "b" },
        { wait: null, continue_on_failure: true },
        { command: "c" },
        "wait",
        { command: "d" }
      )
      assert.deepStrictEqual(yield* rounds(emulator, { a: 1 }), [["a"], ["b"], ["c"]])
      assert.strictEqual((yield* jobOf(emulator, "d")).state, "waiting_failed")
    }).pipe(Effect.scoped)
  )

  it.effect("that is soft, others go on", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { command: "a", soft_fail: true },
        { command: "b", soft_fail: [{ exit_status: 3 }] },
        "wait",
        { command: "c" }
      )
      assert.deepStrictEqual(yield* rounds(emulator, { a: 9, b: 3 }), [["a", "b"], ["c"]])
    }).pipe(Effect.scoped)
  )

  it.effect("of the build, steps that ask for it are canceled", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { command: "a" },
        { command: "running", cancel_on_build_failing: true },
        { command: "listed", cancel_on_build_failing: true },
        { command: "later", cancel_on_build_failing: true, depends_on: "other" },
        { command: "other", key: "other" }
      )
      yield* begin(emulator, "running")
      yield* end(emulator, "a", 1)
      assert.deepStrictEqual(yield* statesOf(emulator), {
        a: "finished",
        running: "canceling",
        listed: "canceled",
        later: "canceled",
        other: "scheduled"
      })
    }).pipe(Effect.scoped)
  )

  it.effect("a cancellation also stops what may follow failures", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { command: "a", key: "a" },
        { command: "b", depends_on: [{ step: "a", allow_failure: true }] },
        { command: "c", depends_on: "a", allow_dependency_failure: true },
        { wait: null, continue_on_failure: true },
        { command: "d" }
      )
      yield* emulator.cancelJob((yield* jobOf(emulator, "a")).id)
      assert.deepStrictEqual(yield* statesOf(emulator), {
        a: "canceled",
        b: "waiting_failed",
        c: "waiting_failed",
        d: "waiting_failed"
      })
    }).pipe(Effect.scoped)
  )
})

describe("a block step", () => {
  it.effect("keeps back what is behind it, until somebody unblocks it", () =>
    Effect.gen(function* () {
      const emulator = yield* started({ command: "test" }, { block: "Deploy?" }, { command: "deploy" })
      assert.deepStrictEqual(yield* rounds(emulator), [["test"]])
      assert.deepStrictEqual(yield* stepStates(emulator), { "Deploy?": "blocked", command: "waiting" })
      yield* emulator.unblock("Deploy?")
      assert.deepStrictEqual(yield* rounds(emulator), [["deploy"]])
    }).pipe(Effect.scoped)
  )

  it.effect("may be unblocked early: then it waits only for the steps before it", () =>
    Effect.gen(function* () {
      const emulator = yield* started({ command: "test" }, { block: "Deploy?", key: "ok" }, { command: "deploy" })
      yield* emulator.unblock("ok")
      assert.deepStrictEqual(yield* listed(emulator), ["test"])
      assert.deepStrictEqual(yield* rounds(emulator), [["test"], ["deploy"]])
      assert.include(yield* problemOf(emulator.unblock("ok")), "the step ok has already passed")
    }).pipe(Effect.scoped)
  )

  it.effect("waits again if a job before it is retried", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { command: "test", retry: { manual: { permit_on_passed: true } } },
        { block: "Deploy?" },
        { command: "deploy" }
      )
      yield* end(emulator, "test")
      assert.strictEqual((yield* stepStates(emulator))["Deploy?"], "blocked")
      yield* emulator.retryJob((yield* jobOf(emulator, "test")).id)
      assert.strictEqual((yield* stepStates(emulator))["Deploy?"], "waiting")
      assert.deepStrictEqual(yield* rounds(emulator), [["test"]])
      assert.strictEqual((yield* stepStates(emulator))["Deploy?"], "blocked")
    }).pipe(Effect.scoped)
  )

  it.effect("keeps a job canceled that was canceled behind it", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { block: "Deploy?" },
        { command: "deploy %n", parallelism: 2, label: "deploy %n" }
      )
      yield* emulator.cancelJob((yield* jobOf(emulator, "deploy 0")).id)
      const unblocked = yield* emulator.unblock("Deploy?")
      assert.strictEqual(unblocked.state, "passed")
      assert.deepStrictEqual(yield* rounds(emulator), [["deploy 1"]])
      assert.deepStrictEqual(yield* statesOf(emulator), { "deploy 0": "canceled", "deploy 1": "finished" })
    }).pipe(Effect.scoped)
  )

  it.effect("does not let anything through after a failure", () =>
    Effect.gen(function* () {
      const emulator = yield* started({ command: "test" }, { block: "Deploy?" }, { command: "deploy" })
      yield* end(emulator, "test", 1)
      assert.include(
        yield* problemOf(emulator.unblock("Deploy?")),
        "the step Deploy? has failed, because a step before it failed"
      )
      assert.strictEqual((yield* jobOf(emulator, "deploy")).state, "waiting_failed")
    }).pipe(Effect.scoped)
  )

  it.effect("asks for values, which become meta-data of the build", () =>
    Effect.gen(function* () {
      const emulator = yield* started({
        block: "Release",
        key: "release",
        fields: [
          { text: "Name", key: "name" },
          {
            select: "Stream",
            key: "stream",
            default: "beta",
            options: [{ label: "B", value: "beta" }, { value: "stable" }]
          },
          { text: "Notes", key: "notes", required: false }
        ]
      })
      assert.include(yield* problemOf(emulator.unblock("release")), "the field name needs a value: Name")
      assert.include(
        yield* problemOf(emulator.unblock("release", { name: "x", stream: "y" })),
        'has no option "y": it has beta, stable'
      )
      assert.include(
        yield* problemOf(emulator.unblock("release", { other: "x" })),
        "the step has no field other: it has name, stream, notes"
      )
      assert.strictEqual((yield* emulator.unblock("release", { name: "Dolphin" })).hold, undefined)
      const [step] = yield* emulator.steps
      assert.deepStrictEqual(
        step?.fields.map(({ key, isRequired, defaultValue }) => [key, isRequired, defaultValue]),
        [
          ["name", true, undefined],
          ["stream", true, "beta"],
          ["notes", false, undefined]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.effect(
    "does not keep back steps that say what they depend on; an input step keeps back only those that depend on it",
    () =>
      Effect.gen(function* () {
        const emulator = yield* started(
          { command: "a", key: "a" },
          { block: "Sure?", key: "ok" },
          { command: "b", depends_on: "a" },
          { command: "c", depends_on: ["a", "ok"] },
          { command: "free", depends_on: [] },
          { input: "Name?", key: "name" },
          { command: "named", depends_on: "name" }
        )
        assert.deepStrictEqual(yield* rounds(emulator), [["a", "free"], ["b"]])
        yield* emulator.unblock("ok")
        yield* emulator.unblock("name")
        assert.deepStrictEqual(yield* rounds(emulator), [["c", "named"]])
      }).pipe(Effect.scoped)
  )
})

describe("a trigger step", () => {
  it.effect("is held, for the emulator does not run other pipelines; one that does not wait for its build passes", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { trigger: "notify", async: true },
        "wait",
        { trigger: "deploy", key: "deploy" },
        "wait",
        { command: "after" }
      )
      assert.deepStrictEqual(yield* rounds(emulator), [])
      const held = (yield* emulator.steps).filter(({ hold }) => hold !== undefined)
      assert.deepStrictEqual(
        held.map(({ hold, key, state }) => [key, state, hold]),
        [
          [
            "deploy",
            "blocked",
            "the trigger step is held: the emulator does not run the pipeline deploy; unblock it to go on as if that had passed"
          ]
        ]
      )
      yield* emulator.unblock("deploy")
      assert.deepStrictEqual(yield* rounds(emulator), [["after"]])
    }).pipe(Effect.scoped)
  )
})

describe("a group", () => {
  it.effect("is held, skipped, and waited for as a whole", () =>
    Effect.gen(function* () {
      const emulator = yield* started(
        { command: "first", key: "first" },
        {
          group: "Deploy",
          key: "deploy",
          depends_on: "first",
          if: "build.author.name == 'me'",
          steps: [{ command: "a", key: "a" }, { block: "Sure?", key: "ok" }, { command: "b" }]
        },
        { group: "Never", skip: true, steps: [{ command: "never" }] },
        { command: "after", depends_on: "deploy" },
        { command: "needs a", depends_on: "a" }
      )
      assert.deepStrictEqual(yield* rounds(emulator), [["first"]])
      assert.strictEqual((yield* jobOf(emulator, "a")).state, "blocked")
      yield* emulator.unblock("deploy")
      assert.deepStrictEqual(yield* rounds(emulator), [["a"], ["needs a"]])
      // A block in a group that was let through is one still.
      yield* emulator.unblock("ok")
      assert.deepStrictEqual(yield* rounds(emulator), [["b"], ["after"]])
      assert.deepStrictEqual(
        (yield* emulator.jobs).map((job) => [labelOf(job), job.env["BUILDKITE_GROUP_KEY"]]).slice(1, 3),
        [
          ["a", "deploy"],
          ["b", "deploy"]
        ]
      )
    }).pipe(Effect.scoped)
  )
})

describe("an uploaded pipeline", () => {
  it.effect("that is invalid adds nothing, and says where", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.make({ queues: ["linux"] })
      const refused = (pipeline: unknown) =>
        Effect.map(Effect.flip(emulator.uploadPipelines([{ steps: [] }, pipeline])), ({ path, pipeline, problem }) => [
          pipeline,
          path,
          problem
        ])
      assert.deepStrictEqual(yield* refused({ steps: [{ command: "a" }, { command: "b", priority: "high" }] }), [
        1,
        "/steps/1/priority",
        'Expected a whole number, not "high".'
      ])
      assert.deepStrictEqual(yield* refused({ steps: [{ command: "a" }] }), [
        1,
        "/steps/0",
        "There is no queue _default."
      ])
      assert.deepStrictEqual(yield* refused(null), [
        1,
        "",
        "Expected a map with `steps`, or a list of steps, not nothing."
      ])
      assert.deepStrictEqual(yield* emulator.jobs, [])
      assert.deepStrictEqual(yield* emulator.steps, [])
      const agents = { queue: "linux" }
      const first = { steps: [{ command: "z", depends_on: "w", agents }] }
      const second = {
        steps: [
          { command: "a", depends_on: "w", agents },
          { wait: null, key: "w" }
        ]
      }
      const { path, pipeline, problem } = yield* Effect.flip(emulator.uploadPipelines([first, second]))
      assert.deepStrictEqual(
        [pipeline, path, problem],
        [1, "/steps/1", "This step depends on itself, by way of `depends_on`."]
      )
      // The next build is the first one.
      yield* emulator.uploadPipelines([{ steps: [{ command: "a", agents: { queue: "linux" } }] }])
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ build }) => build.number),
        [1]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("may add to a build that has begun, whose keys it knows", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.make()
      const { uuid } = yield* emulator.startBuild({ pipelineSlug: "p", number: 7 })
      yield* emulator.uploadPipelines([{ steps: [{ command: "a", key: "a" }] }], { buildUuid: uuid })
      yield* emulator.uploadPipelines([{ steps: [{ command: "b", depends_on: "a" }] }], { buildUuid: uuid })
      assert.deepStrictEqual(yield* rounds(emulator), [["a"], ["b"]])
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ build }) => build.number),
        [7, 7]
      )
      assert.include(yield* problemOf(emulator.uploadPipelines([], { buildUuid: "none" })), "there is no build none")
    }).pipe(Effect.scoped)
  )
})
