import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import { begin, call, connect, finish, registration, upload } from "../support/agents.ts"
import {
  addJobs,
  answer,
  emulated,
  finish as finishByStack,
  job,
  register,
  reserve,
  states
} from "../support/emulated.ts"

const { Fault } = StacksEmulator

const Tokens = Schema.Struct({
  job_acquisition_tokens: Schema.Array(Schema.Struct({ job_acquisition_token: Schema.String }))
})

/** Adds a job, reserves it, and gives a token for it. */
const reserved = Effect.fnUntraced(function* (id: string, options: { seconds?: number; lifetime?: number } = {}) {
  yield* register()
  yield* addJobs(id)
  yield* reserve([id], options)
  return yield* issue(id, options.lifetime)
})

const issue = Effect.fnUntraced(function* (id: string, lifetime?: number) {
  const issued = yield* answer("POST", "stacks/s/job-acquisition-tokens", {
    body: { job_uuids: [id], token_lifetime_seconds: lifetime }
  })
  const { job_acquisition_tokens } = Schema.decodeUnknownSync(Tokens)(issued.body)
  return job_acquisition_tokens[0]?.job_acquisition_token ?? "none"
})

const registering = (token: string, body: unknown = registration) =>
  Effect.map(call(token, "POST", "register", { body }), ({ status }) => status)

const agents = Effect.flatMap(StacksEmulator.StacksEmulator, ({ agents }) => agents)

const log = (id: string) => Effect.flatMap(StacksEmulator.StacksEmulator, ({ jobLog }) => jobLog(id))

const provided = <A, E, R>(effect: Effect.Effect<A, E, R>, options?: StacksEmulator.Options) =>
  effect.pipe(Effect.provide(emulated(options)))

describe("An agent registers", () => {
  it.effect("with a job's acquisition token, and is listed without tokens", () =>
    Effect.gen(function* () {
      const token = yield* reserved("j")
      const { body, status } = yield* call(token, "POST", "register", { body: registration })
      assert.strictEqual(status, 200)
      assert.containsSubset(body, { name: "worker-1", meta_data: ["queue=q"] })
      for (const interval of ["ping_interval", "job_status_interval", "heartbeat_interval"]) {
        assert.isAtLeast(Number(body[interval]), 1, interval)
      }
      const [agent] = yield* agents
      assert.containsSubset(agent, {
        id: body["id"],
        name: "worker-1",
        hostname: "host",
        version: "3.137.0",
        tags: ["queue=q"],
        state: "registered",
        jobUuid: undefined
      })
      const shown = JSON.stringify(agent)
      assert.notInclude(shown, token)
      assert.notInclude(shown, String(body["access_token"]))
    }).pipe(provided)
  )

  it.effect("with the cluster's token, for any job", () =>
    Effect.gen(function* () {
      yield* addJobs("a", "b")
      const agent = yield* connect("bkct_emulator")
      assert.deepStrictEqual(yield* begin(agent, "b"), [200, 200])
    }).pipe(provided)
  )

  it.effect("with a minimal request", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* registering("bkct_emulator", {}), 200)
      assert.strictEqual(yield* registering("bkct_emulator", { name: "", hostname: "host", meta_data: null }), 200)
      assert.deepStrictEqual(
        (yield* agents).map(({ name }) => name),
        ["agent-1", "host-2"]
      )
      assert.strictEqual(yield* registering("bkct_emulator", { meta_data: "queue=q" }), 422)
    }).pipe(provided)
  )

  it.effect("not with an expired or unknown token (401)", () =>
    Effect.gen(function* () {
      const expiring = yield* reserved("expiring", { lifetime: 60 })
      const both = yield* reserved("both", { seconds: 30, lifetime: 60 })
      yield* TestClock.adjust("60 seconds")
      // Tokens that have expired are forgotten when others are issued.
      for (const id of ["other", "another"]) {
        for (const token of [expiring, both, "bkjat_unknown", "bkct_other", ""]) {
          assert.strictEqual(yield* registering(token), 401)
        }
        yield* reserved(id)
      }
    }).pipe(provided)
  )

  it.effect("not with a token whose job can't be acquired any more (422, so that agents exit with 27)", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const used = yield* reserved("used")
      assert.strictEqual(yield* registering(used), 200)
      const lapsed = yield* reserved("lapsed", { seconds: 60 })
      const again = yield* reserved("again", { seconds: 60 })
      yield* TestClock.adjust("60 seconds")
      yield* reserve(["again"])
      const finished = yield* reserved("finished")
      yield* finishByStack("finished")
      const canceled = yield* reserved("canceled")
      yield* emulator.cancelJob("canceled")
      const taken = yield* reserved("taken")
      const agent = yield* connect("bkct_emulator")
      assert.deepStrictEqual(yield* begin(agent, "taken"), [200, 200])
      for (const [name, token] of Object.entries({ used, lapsed, again, finished, canceled, taken })) {
        const { body, status } = yield* call(token, "POST", "register", { body: registration })
        assert.strictEqual(status, 422, name)
        assert.strictEqual(body["message"], "Job is not eligible for job acquisition registration", name)
      }
      // A new token for the new reservation is another matter.
      assert.strictEqual(yield* registering(yield* issue("again")), 200)
      assert.lengthOf(yield* agents, 3)
      assert.strictEqual((yield* Effect.flip(emulator.acquireJob(lapsed))).message, "the token is not valid")
    }).pipe(provided)
  )
})

describe("The tokens of agents", () => {
  it.effect("give access only to the agents' API", () =>
    Effect.gen(function* () {
      const token = yield* reserved("j")
      const agent = yield* connect(token)
      assert.strictEqual(yield* agent.status("GET", "ping"), 200)
      assert.strictEqual(yield* agent.status("GET", "stacks/s/jobs/j"), 401)
      assert.strictEqual(yield* agent.status("POST", "register", { body: registration }), 401)
      for (const foreign of [token, "bkct_emulator", "bkaat_unknown", ""]) {
        assert.strictEqual((yield* call(foreign, "GET", "ping")).status, 401, foreign)
        assert.strictEqual((yield* call(foreign, "PUT", "jobs/j/acquire")).status, 401, foreign)
      }
    }).pipe(provided)
  )

  it.effect("of jobs give access to the job's requests until the agent is gone", () =>
    Effect.gen(function* () {
      yield* addJobs("j")
      const agent = yield* connect("bkct_emulator")
      const acquired = yield* agent.ask("PUT", "jobs/j/acquire")
      const token = String(acquired.body["token"])
      assert.match(token, /^bkaj_eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{43}$/)
      assert.match(agent.accessToken, /^bkaa_\w+\.\w+$/)
      assert.strictEqual((yield* call(token, "PUT", "jobs/j/start")).status, 200)
      assert.strictEqual((yield* call(token, "POST", "jobs/j/data/keys")).status, 200)
      assert.strictEqual((yield* call(token, "GET", "ping")).status, 401)
      assert.strictEqual((yield* call(token, "GET", "stacks/s/jobs/j")).status, 401)
      yield* agent.ask("POST", "disconnect")
      assert.strictEqual((yield* call(token, "POST", "jobs/j/data/keys")).status, 401)
    }).pipe(provided)
  )

  it.effect("of agents get 404 or 422 for unsupported requests", () =>
    Effect.gen(function* () {
      yield* addJobs("j")
      const agent = yield* connect("bkct_emulator")
      yield* begin(agent, "j")
      assert.strictEqual(yield* agent.status("POST", "jobs/j/unheard/of"), 404)
      for (const path of ["pause", "resume", "jobs/j/oidc/tokens", "jobs/j/repository_access_token"]) {
        const { body, status } = yield* agent.ask("POST", path, { body: {} })
        assert.strictEqual(status, 422, path)
        assert.match(String(body["message"]), /^The emulator does not have /, path)
        assert.strictEqual((yield* call("bkct_other", "POST", path)).status, 401, path)
      }
    }).pipe(provided)
  )
})

describe("An agent acquires a job", () => {
  it.effect("and gets the environment that the service makes for it", () =>
    Effect.gen(function* () {
      yield* addJobs({
        id: "j",
        command: "make test",
        env: { GREETING: "hi", BUILDKITE_REPO: "file:///repo.git", BUILDKITE_AGENT_NAME: "forged", CI: "maybe" },
        build: { number: 7, branch: "topic" },
        pipeline: { slug: "library" },
        step: { key: "test" }
      })
      const agent = yield* connect("bkct_emulator", { name: "a", meta_data: ["queue=q", "gpu-type=a=b"] })
      const { body } = yield* agent.ask("PUT", "jobs/j/acquire")
      assert.containsSubset(body, { id: "j", state: "accepted" })
      assert.isAbove(Number(body["chunks_max_size_bytes"]), 0)
      assert.containsSubset(body["env"], {
        BUILDKITE: "true",
        BUILDKITE_AGENT_ID: agent.id,
        BUILDKITE_AGENT_META_DATA_GPU_TYPE: "a=b",
        BUILDKITE_AGENT_META_DATA_QUEUE: "q",
        BUILDKITE_AGENT_NAME: "a",
        BUILDKITE_BRANCH: "topic",
        BUILDKITE_BUILD_NUMBER: "7",
        BUILDKITE_COMMAND: "make test",
        BUILDKITE_COMMIT: "HEAD",
        BUILDKITE_JOB_ID: "j",
        BUILDKITE_PIPELINE_SLUG: "library",
        BUILDKITE_REPO: "file:///repo.git",
        BUILDKITE_STEP_KEY: "test",
        CI: "maybe",
        GREETING: "hi"
      })
      assert.notProperty(body["env"], "BUILDKITE_SKIP_CHECKOUT")
    }).pipe(provided)
  )

  it.effect("without a repository, so that it skips the checkout", () =>
    Effect.gen(function* () {
      yield* addJobs("j")
      const agent = yield* connect("bkct_emulator")
      const { body } = yield* agent.ask("PUT", "jobs/j/acquire")
      assert.containsSubset(body["env"], { BUILDKITE_SKIP_CHECKOUT: "true" })
    }).pipe(provided)
  )

  it.effect("of its token, and no other", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("mine"))
      yield* addJobs("other")
      assert.strictEqual(yield* agent.status("PUT", "jobs/other/acquire"), 422)
      assert.strictEqual((yield* job("other")).state, "scheduled")
      assert.strictEqual(yield* agent.status("PUT", "jobs/nowhere/acquire"), 404)
      assert.strictEqual(yield* agent.status("PUT", "jobs/mine/acquire"), 200)
    }).pipe(provided)
  )

  it.effect("unless it has another agent, is over, or its reservation has lapsed (422)", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const tokens = yield* Effect.forEach(["taken", "canceled", "lapsed"], (id) => reserved(id, { seconds: 60 }))
      const [first, second, third] = yield* Effect.forEach(tokens, (token) => connect(token))
      assert(first && second && third)

      yield* begin(yield* connect("bkct_emulator"), "taken")
      assert.strictEqual(yield* first.status("PUT", "jobs/taken/acquire"), 422)
      yield* emulator.cancelJob("canceled")
      assert.strictEqual(yield* second.status("PUT", "jobs/canceled/acquire"), 422)
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual((yield* job("lapsed")).state, "scheduled")
      assert.strictEqual(yield* third.status("PUT", "jobs/lapsed/acquire"), 422)
    }).pipe(provided)
  )

  it.effect(
    "later, while that waits for others: 423 with a growing Retry-After, 422 for agents that don't know 423",
    () =>
      Effect.gen(function* () {
        yield* addJobs("first", { id: "second", dependsOn: ["first"] })
        const agent = yield* connect("bkct_emulator")
        const ask = (attempt: string) =>
          agent.ask("PUT", "jobs/second/acquire", {
            headers: { "x-buildkite-lock-acquire-job": "1", "x-buildkite-backoff-sequence": attempt }
          })
        const locked = yield* ask("0")
        assert.strictEqual(locked.status, 423)
        assert.strictEqual(locked.headers["retry-after"], "2")
        assert.strictEqual((yield* ask("3")).headers["retry-after"], "16")
        assert.strictEqual(yield* agent.status("PUT", "jobs/second/acquire"), 422)
      }).pipe(provided)
  )

  it.effect("and starts it, and may repeat both requests after a lost response", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const agent = yield* connect(yield* reserved("j"))
      const twice = (path: string) =>
        Effect.gen(function* () {
          yield* emulator.setFaults([Fault.LostResponse({ times: 1 })])
          yield* Effect.flip(agent.ask("PUT", path))
          return yield* agent.status("PUT", path)
        })
      assert.strictEqual(yield* twice("jobs/j/acquire"), 200)
      assert.strictEqual(yield* twice("jobs/j/start"), 200)
      assert.strictEqual(yield* agent.status("PUT", "jobs/j/acquire"), 422)
    }).pipe(provided)
  )
})

describe("An agent runs a job", () => {
  it.effect("whose state its stack can read, and whose agent is listed", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("j"))
      const stateOf = Effect.map(states("j"), ({ body }) => body)
      yield* agent.ask("PUT", "jobs/j/acquire")
      assert.deepStrictEqual(yield* stateOf, { states: { j: "accepted" } })
      yield* TestClock.adjust("5 seconds")
      yield* agent.ask("PUT", "jobs/j/start")
      assert.deepStrictEqual(yield* stateOf, { states: { j: "running" } })
      assert.containsSubset((yield* agents)[0], { id: agent.id, state: "connected", jobUuid: "j" })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* finish(agent, "j", 3, { signal: "", signal_reason: "" }), 200)
      assert.deepStrictEqual(yield* stateOf, { states: { j: "finished" } })
      const { agentId, exitStatus, finishedAt, reservedBy, signal, signalReason, startedAt } = yield* job("j")
      assert.deepStrictEqual(
        [
          agentId,
          exitStatus,
          reservedBy,
          signal,
          signalReason,
          startedAt?.epochMilliseconds,
          finishedAt?.epochMilliseconds
        ],
        [agent.id, 3, "s", undefined, undefined, 5000, 10_000]
      )
      assert.strictEqual((yield* agents)[0]?.jobUuid, undefined)
    }).pipe(provided)
  )

  it.effect("and reports its end once, with the signal", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      assert.strictEqual(yield* agent.status("PUT", "jobs/j/finish", { body: { exit_status: "many" } }), 422)
      assert.strictEqual(yield* finish(agent, "j", -1, { signal: "SIGKILL", signal_reason: "process_run_error" }), 200)
      assert.strictEqual(yield* finish(agent, "j", 0), 422)
      assert.containsSubset(yield* job("j"), { exitStatus: -1, signal: "SIGKILL", signalReason: "process_run_error" })
    }).pipe(provided)
  )

  it.effect("and learns from the job's state that it was canceled", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      assert.containsSubset((yield* agent.ask("GET", "jobs/j")).body, { id: "j", state: "running" })
      yield* emulator.cancelJob("j")
      assert.containsSubset((yield* agent.ask("GET", "jobs/j")).body, { state: "canceling" })
      yield* finish(agent, "j", 255, { signal: "SIGTERM", signal_reason: "cancel" })
      assert.containsSubset(yield* job("j"), { state: "canceled", exitStatus: 255, signal: "SIGTERM" })
    }).pipe(provided)
  )

  it.effect("that no other agent or stack can change", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      const other = yield* connect("bkct_emulator")
      assert.strictEqual(yield* other.status("GET", "jobs/j"), 404)
      assert.strictEqual(yield* other.status("PUT", "jobs/j/start"), 404)
      assert.strictEqual(yield* upload(other, "j", 1, 0, "forged"), 404)
      assert.strictEqual(yield* finish(other, "j", 0), 404)
      assert.strictEqual((yield* finishByStack("j")).status, 422)
      assert.strictEqual((yield* job("j")).state, "running")
    }).pipe(provided)
  )

  it.effect("and shares meta-data with the other jobs of the build", () =>
    Effect.gen(function* () {
      yield* addJobs("a", "b", { id: "elsewhere", build: { uuid: "another" } })
      const [a, b, elsewhere] = yield* Effect.forEach(["a", "b", "elsewhere"], (id) =>
        Effect.tap(connect("bkct_emulator"), (agent) => begin(agent, id))
      )
      assert(a && b && elsewhere)
      const key = { body: { key: "commit" } }
      assert.deepStrictEqual((yield* b.ask("POST", "jobs/b/data/exists", key)).body, { exists: false })
      assert.strictEqual(yield* b.status("POST", "jobs/b/data/get", key), 404)
      yield* a.ask("POST", "jobs/a/data/set", { body: { key: "commit", value: "abc" } })
      assert.deepStrictEqual((yield* b.ask("POST", "jobs/b/data/exists", key)).body, { exists: true })
      assert.containsSubset((yield* b.ask("POST", "jobs/b/data/get", key)).body, { value: "abc" })
      assert.deepStrictEqual((yield* b.ask("POST", "jobs/b/data/keys")).body, { text: '["commit"]' })
      assert.strictEqual(yield* elsewhere.status("POST", "jobs/elsewhere/data/get", key), 404)
    }).pipe(provided)
  )
})

describe("A job's log", () => {
  it.effect("contains the chunks that its agent uploads, in any order, repeated, or split within characters", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      assert.strictEqual(yield* log("j"), "")
      const bytes = new TextEncoder().encode("first ä\nlast")
      for (const [sequence, from, to] of [
        [3, 8, 13],
        [1, 0, 4],
        [2, 4, 7],
        [4, 7, 8],
        [1, 0, 4]
      ] as const) {
        assert.strictEqual(yield* upload(agent, "j", sequence, from, bytes.subarray(from, to)), 200)
      }
      assert.strictEqual(yield* log("j"), "first ä\nlast")
      assert.strictEqual((yield* job("j")).logSize, 13)
    }).pipe(provided)
  )

  it.effect("rejects chunks that are broken or have a wrong length", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      const broken = { body: new TextEncoder().encode("not compressed") }
      assert.strictEqual(yield* agent.status("POST", "jobs/j/chunks?sequence=1&offset=0&size=14", broken), 400)
      const headers = { "content-encoding": "br" }
      assert.strictEqual(yield* agent.status("POST", "jobs/j/chunks?offset=0&size=2", { body: {}, headers }), 415)
      assert.strictEqual(yield* agent.status("POST", "jobs/j/chunks?offset=0&size=3", { body: {} }), 422)
      assert.strictEqual(yield* agent.status("POST", "jobs/j/chunks?offset=-1&size=2", { body: {} }), 422)
      assert.strictEqual(yield* log("j"), "")
    }).pipe(provided)
  )

  it.effect("keeps its last 4 MiB", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      const mebibyte = 1024 * 1024
      for (const [index, letter] of Array.from("abcdef").entries()) {
        yield* upload(agent, "j", index + 1, index * mebibyte, letter.repeat(mebibyte))
      }
      const text = yield* log("j")
      assert.strictEqual(text.length, 4 * mebibyte)
      assert.strictEqual(text.at(0), "c")
      assert.strictEqual(text.at(-1), "f")
      assert.strictEqual((yield* job("j")).logSize, 6 * mebibyte)
    }).pipe(provided)
  )
})

describe("The logs of all jobs", () => {
  it.effect("keep 128 MiB together, and drop the oldest logs first", () =>
    Effect.gen(function* () {
      const mebibyte = "m".repeat(1024 * 1024)
      const ids = Array.from({ length: 33 }, (_, index) => `j${index}`)
      yield* addJobs(...ids)
      for (const id of ids) {
        const agent = yield* connect("bkct_emulator")
        yield* begin(agent, id)
        for (const part of [0, 1, 2, 3]) yield* upload(agent, id, part + 1, part * mebibyte.length, mebibyte)
      }
      assert.strictEqual(yield* log("j0"), "")
      assert.strictEqual((yield* log("j1")).length, 4 * mebibyte.length)
      assert.strictEqual((yield* log("j32")).length, 4 * mebibyte.length)
    }).pipe(provided)
  )
})

describe("An agent leaves", () => {
  it.effect("when it disconnects, which ends its token and its job", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      assert.strictEqual(yield* agent.status("POST", "disconnect"), 200)
      assert.containsSubset(yield* job("j"), { state: "finished", exitStatus: -1, signalReason: "agent_stop" })
      assert.containsSubset((yield* agents)[0], { state: "disconnected", jobUuid: undefined })
      assert.strictEqual(yield* agent.status("GET", "ping"), 401)
    }).pipe(provided)
  )

  it.effect("after its job, whose end does not change", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      yield* finish(agent, "j", 0)
      yield* agent.ask("POST", "disconnect")
      assert.containsSubset(yield* job("j"), { state: "finished", exitStatus: 0, signalReason: undefined })
    }).pipe(provided)
  )

  it.effect("without a sign of life for 3 minutes, which ends its job", () =>
    Effect.gen(function* () {
      const silent = yield* connect(yield* reserved("silent"))
      const lively = yield* connect(yield* reserved("lively"))
      yield* begin(silent, "silent")
      yield* begin(lively, "lively")
      yield* TestClock.adjust("2 minutes")
      const beat = yield* lively.ask("POST", "heartbeat", { body: { sent_at: "2026-01-01T00:00:00Z" } })
      assert.deepStrictEqual(beat.body, { sent_at: "2026-01-01T00:00:00Z", received_at: "1970-01-01T00:02:00.000Z" })
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual((yield* job("silent")).state, "running")
      yield* TestClock.adjust("1 second")
      const lost = yield* job("silent")
      assert.containsSubset(lost, { state: "finished", exitStatus: -1, signalReason: "agent_stop" })
      assert.strictEqual(lost.detail, "The agent was lost")
      assert.strictEqual((yield* job("lively")).state, "running")
      assert.deepStrictEqual(
        (yield* agents).map(({ state }) => state),
        ["lost", "connected"]
      )
      assert.strictEqual(yield* silent.status("GET", "jobs/silent"), 401)
    }).pipe(provided)
  )

  it.effect("while its job is being canceled, which is then canceled", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      yield* emulator.cancelJob("j")
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual((yield* job("j")).state, "canceled")
    }).pipe(provided)
  )

  it.effect("when it is asked to stop; with force, its job is canceled", () =>
    Effect.gen(function* () {
      const agent = yield* connect(yield* reserved("j"))
      yield* begin(agent, "j")
      assert.deepStrictEqual((yield* agent.ask("GET", "ping")).body, {})
      yield* agent.ask("POST", "stop", { body: {} })
      assert.containsSubset((yield* agent.ask("GET", "ping")).body, { action: "disconnect" })
      assert.strictEqual((yield* job("j")).state, "running")
      yield* agent.ask("POST", "stop", { body: { force: true } })
      assert.strictEqual((yield* job("j")).state, "canceling")
    }).pipe(provided)
  )
})

describe("The requests of agents", () => {
  it.effect("are in the log of requests, with neither tokens nor output", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const token = yield* reserved("j")
      const before = (yield* emulator.requests).length
      const agent = yield* connect(token)
      yield* begin(agent, "j")
      yield* upload(agent, "j", 1, 0, "the output")
      yield* finish(agent, "j", 0)
      yield* agent.ask("POST", "disconnect")
      const requests = (yield* emulator.requests).slice(before)
      assert.deepStrictEqual(
        requests.map(({ agentOperation, operation, status }) => [operation, agentOperation, status]),
        [
          [undefined, "registerAgent", 200],
          [undefined, "connectAgent", 200],
          [undefined, "acquireJob", 200],
          [undefined, "startJob", 200],
          [undefined, "uploadLogChunk", 200],
          [undefined, "finishAgentJob", 200],
          [undefined, "disconnectAgent", 200]
        ]
      )
      assert.deepStrictEqual(requests[0]?.body, registration)
      assert.deepStrictEqual(requests[4]?.query, { sequence: "1", offset: "0", size: "10" })
      assert.strictEqual(requests[4]?.body, undefined)
      const written = JSON.stringify(requests)
      assert.notInclude(written, token)
      assert.notInclude(written, agent.accessToken)
    }).pipe(provided)
  )

  it.effect("are in the log if they are invalid", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const broken = { body: new TextEncoder().encode("not compressed") }
      assert.strictEqual((yield* call("bkct_emulator", "POST", "register", broken)).status, 400)
      assert.containsSubset((yield* emulator.requests).at(-1), { agentOperation: "registerAgent", status: 400 })
    }).pipe(provided)
  )

  it.effect("do not count against the limits of stacks", () =>
    Effect.gen(function* () {
      const agent = yield* connect("bkct_emulator")
      for (let round = 0; round < 50; round++) assert.strictEqual(yield* agent.status("GET", "ping"), 200)
      yield* register()
      assert.strictEqual((yield* answer("POST", "stacks/s/deregister")).status, 204)
    }).pipe((effect) => provided(effect, { rateLimits: true }))
  )

  it.effect("get the faults without operations, and not those of the Stacks API", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const agent = yield* connect(yield* reserved("j"))
      yield* emulator.setFaults([Fault.Status({ status: 500, operations: ["getJob", "finishJob"] })])
      assert.deepStrictEqual(yield* begin(agent, "j"), [200, 200])
      yield* emulator.setFaults([Fault.Status({ status: 503, times: 1 })])
      assert.strictEqual(yield* agent.status("GET", "ping"), 503)
      assert.strictEqual(yield* agent.status("GET", "ping"), 200)
    }).pipe(provided)
  )

  it.effect("do not change the ids of jobs", () => {
    const ids = (withAgent: boolean) =>
      Effect.gen(function* () {
        if (withAgent) yield* connect("bkct_emulator")
        return (yield* addJobs({}, {})).map(({ id }) => id)
      }).pipe(provided)
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* ids(true), yield* ids(false))
    })
  })
})
