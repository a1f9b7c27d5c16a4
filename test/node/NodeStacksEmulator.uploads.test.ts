import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Layer } from "effect"
import { type Agent, begin, connect, finish } from "../support/agents.ts"

const Served = NodeHttpClient.layerUndici.pipe(Layer.provideMerge(NodeStacksEmulator.layer({ defaultQueueKey: "q" })))

const running = Effect.fnUntraced(function* (job: string) {
  const agent = yield* connect("bkct_emulator")
  yield* begin(agent, job)
  return agent
})

let uploads = 0

/** Uploads steps as newer agents do: it asks for the result afterwards. */
const upload = Effect.fnUntraced(function* (agent: Agent, job: string, pipeline: unknown, more: object = {}) {
  const uuid = `upload-${uploads++}`
  const body = { uuid, pipeline, ...more }
  const accepted = yield* agent.ask("POST", `jobs/${job}/pipelines?async=true`, { body })
  assert.strictEqual(accepted.status, 202)
  assert.strictEqual(accepted.headers["location"], `/v3/jobs/${job}/pipelines/${uuid}`)
  return (yield* agent.ask("GET", `jobs/${job}/pipelines/${uuid}`)).body
})

const applied = { state: "applied", message: "" }

/** The commands of the build's jobs with their states, in the order of the pipeline. */
const jobs = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const [build] = yield* emulator.builds
  const all = new Map((yield* emulator.jobs).map((job) => [job.id, job]))
  return (build?.jobUuids ?? []).map((id) => `${all.get(id)?.command} ${all.get(id)?.state}`)
})

const pass = Effect.fnUntraced(function* (command: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const job = (yield* emulator.jobs).find((job) => job.command === command)
  yield* emulator.acquireJob(job?.id ?? "")
  yield* emulator.completeJob(job?.id ?? "")
})

const addUploader = Effect.flatMap(StacksEmulator.StacksEmulator, ({ addJobs }) =>
  addJobs([
    { id: "before", queueKey: "q", command: "before" },
    { id: "uploader", queueKey: "q", command: "upload" },
    { id: "beside", queueKey: "q", command: "beside", step: { key: "beside" } },
    {
      id: "after",
      queueKey: "q",
      command: "after",
      dependsOn: ["before", "uploader", "beside"],
      isAfterWait: true
    },
    { id: "named", queueKey: "q", command: "named", dependsOn: ["uploader"] }
  ])
)

describe("pipeline upload", () => {
  it.live(
    "puts the jobs right after the uploading one, which they wait for, and a wait after them waits for them",
    () =>
      Effect.gen(function* () {
        yield* addUploader
        const agent = yield* running("uploader")
        const steps = [{ command: "one" }, { wait: null }, { command: "two" }]
        assert.deepStrictEqual(yield* upload(agent, "uploader", { steps }), applied)
        assert.deepStrictEqual(yield* jobs, [
          "before scheduled",
          "upload running",
          "one waiting",
          "two waiting",
          "beside scheduled",
          "after waiting",
          "named waiting"
        ])
        yield* finish(agent, "uploader", 0)
        yield* pass("beside")
        yield* pass("before")
        // A step that names its dependencies does not wait for what they upload.
        assert.includeMembers(yield* jobs, ["two waiting", "after waiting", "named scheduled"])
        yield* pass("one")
        assert.includeMembers(yield* jobs, ["two scheduled", "after waiting"])
        yield* pass("two")
        assert.include(yield* jobs, "after scheduled")
      }).pipe(Effect.provide(Served))
  )

  it.live("of a later upload come before those of an earlier one", () =>
    Effect.gen(function* () {
      yield* addUploader
      const agent = yield* running("uploader")
      yield* upload(agent, "uploader", [{ command: "first" }])
      yield* upload(agent, "uploader", [{ command: "second" }])
      assert.deepStrictEqual((yield* jobs).slice(1, 4), ["upload running", "second waiting", "first waiting"])
    }).pipe(Effect.provide(Served))
  )

  it.live("uses keys of the build, and new jobs belong to the build and the step they say", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addUploader
      const agent = yield* running("uploader")
      const steps = [
        { command: "late", depends_on: "beside", key: "late", label: "Late %n", parallelism: 2 },
        { command: "elsewhere", agents: { queue: "other" } }
      ]
      assert.deepStrictEqual(yield* upload(agent, "uploader", { steps, env: { A: "b" } }), applied)
      const added = (yield* emulator.jobs).slice(5)
      assert.deepStrictEqual(
        added.map(({ build, env, queueKey, state, step }) => [env["A"], queueKey, state, step.key, build.uuid]),
        [
          ["b", "q", "waiting", "late", (yield* emulator.builds)[0]?.id],
          ["b", "q", "waiting", "late", (yield* emulator.builds)[0]?.id],
          ["b", "other", "waiting", null, (yield* emulator.builds)[0]?.id]
        ]
      )
      yield* pass("beside")
      const first = yield* connect("bkct_emulator")
      const acquired = yield* first.ask("PUT", `jobs/${added[0]?.id}/acquire`)
      assert.containsSubset(acquired.body["env"], { BUILDKITE_LABEL: "Late 0", BUILDKITE_STEP_KEY: "late" })
      const stepId = (acquired.body["env"] as Record<string, string>)["BUILDKITE_STEP_ID"]
      const all = yield* agent.ask("POST", `steps/${stepId}/export`, { body: { attribute: "parallelism" } })
      assert.strictEqual(all.body["output"], "2")
    }).pipe(Effect.provide(Served))
  )

  it.live("with replace removes the jobs that no agent has", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addUploader
      const agent = yield* running("uploader")
      yield* running("beside")
      assert.deepStrictEqual(yield* upload(agent, "uploader", [{ command: "new" }], { replace: true }), applied)
      assert.deepStrictEqual(yield* jobs, ["upload running", "new waiting", "beside running"])
      assert.strictEqual((yield* emulator.jobs).find(({ id }) => id === "after")?.state, "canceled")
    }).pipe(Effect.provide(Served))
  )

  it.live("that is wrong is rejected with the reason, and adds nothing", () =>
    Effect.gen(function* () {
      yield* addUploader
      const agent = yield* running("uploader")
      const wrong = yield* upload(agent, "uploader", [{ command: "x" }, { label: "y" }], { replace: true })
      assert.strictEqual(wrong["state"], "rejected")
      assert.include(String(wrong["message"]), "/1: This step is of no known kind.")
      assert.strictEqual((yield* upload(agent, "uploader", { steps: "x" }))["state"], "rejected")
      assert.strictEqual((yield* upload(agent, "uploader", [{ command: "x", key: "beside" }]))["state"], "rejected")
      assert.lengthOf(yield* jobs, 5)
    }).pipe(Effect.provide(Served))
  )

  it.live("is applied once, and at once for agents that do not ask later", () =>
    Effect.gen(function* () {
      yield* addUploader
      const agent = yield* running("uploader")
      const body = { uuid: "same", pipeline: [{ command: "once" }] }
      assert.strictEqual(yield* agent.status("POST", "jobs/uploader/pipelines", { body }), 200)
      assert.strictEqual(yield* agent.status("POST", "jobs/uploader/pipelines", { body }), 200)
      assert.lengthOf(yield* jobs, 6)
      assert.strictEqual(yield* agent.status("GET", "jobs/uploader/pipelines/unknown"), 404)
      yield* finish(agent, "uploader", 0)
      const late = { uuid: "late", pipeline: [{ command: "late" }] }
      assert.strictEqual(yield* agent.status("POST", "jobs/uploader/pipelines", { body: late }), 422)
    }).pipe(Effect.provide(Served))
  )
})
