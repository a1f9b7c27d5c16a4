import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Schema } from "effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import { type Agent, begin, connect, finish } from "../support/agents.ts"
import { addJobs, emulated } from "../support/emulated.ts"

const provided = <A, E, R>(effect: Effect.Effect<A, E, R>) => effect.pipe(Effect.provide(emulated()))

const Action = Schema.Struct({
  url: Schema.String,
  method: Schema.String,
  path: Schema.String,
  file_input: Schema.String
})

const Created = Schema.Struct({
  artifact_ids: Schema.Array(Schema.String),
  upload_instructions: Schema.Struct({ data: Schema.Record(Schema.String, Schema.String), action: Action }),
  per_artifact_instructions: Schema.Record(
    Schema.String,
    Schema.Struct({
      actions: Schema.Array(Schema.Struct({ url: Schema.String, method: Schema.String, part_number: Schema.Int }))
    })
  )
})

const Found = Schema.fromJsonString(
  Schema.Array(
    Schema.Struct({
      id: Schema.String,
      path: Schema.String,
      url: Schema.String,
      sha1sum: Schema.String,
      job_id: Schema.String
    })
  )
)

const described = (path: string, size: number) => ({
  path,
  absolute_path: `/builds/${path}`,
  glob_path: "**",
  file_size: size,
  sha1sum: `sha1 of ${path}`,
  sha256sum: `sha256 of ${path}`
})

const create = Effect.fnUntraced(function* (agent: Agent, job: string, body: Record<string, unknown>) {
  const response = yield* agent.ask("POST", `jobs/${job}/artifacts`, { body })
  assert.strictEqual(response.status, 200, JSON.stringify(response.body))
  return Schema.decodeUnknownSync(Created)(response.body)
})

// biome-ignore lint/suspicious/noTemplateCurlyInString: agents replace it
const pathVariable = "${artifact:path}"

/** Sends a form as agents do: the fields, then the file. */
const sendForm = (created: typeof Created.Type, path: string, content: string) => {
  const { action, data } = created.upload_instructions
  const fields = Object.entries(data).map(
    ([name, value]) =>
      `--xyz\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value.replaceAll(pathVariable, path)}\r\n`
  )
  const file =
    `--xyz\r\nContent-Disposition: form-data; name="${action.file_input}"; filename="${path}"\r\n` +
    `Content-Type: application/octet-stream\r\n\r\n${content}\r\n--xyz--\r\n`
  return HttpClient.execute(
    HttpClientRequest.post(new URL(action.path, action.url)).pipe(
      HttpClientRequest.bodyText(fields.join("") + file, "multipart/form-data; boundary=xyz")
    )
  ).pipe(Effect.map(({ status }) => status))
}

const finishAll = (agent: Agent, job: string, ids: ReadonlyArray<string>) =>
  agent.status("PUT", `jobs/${job}/artifacts`, { body: { artifacts: ids.map((id) => ({ id, state: "finished" })) } })

const upload = Effect.fnUntraced(function* (agent: Agent, job: string, files: Readonly<Record<string, string>>) {
  const artifacts = Object.entries(files).map(([path, content]) => described(path, content.length))
  const created = yield* create(agent, job, { id: `batch ${artifacts.map(({ path }) => path)} of ${job}`, artifacts })
  for (const [path, content] of Object.entries(files)) assert.strictEqual(yield* sendForm(created, path, content), 204)
  assert.strictEqual(yield* finishAll(agent, job, created.artifact_ids), 200)
})

const search = Effect.fnUntraced(function* (agent: Agent, query: string, more: Readonly<Record<string, string>> = {}) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const [build] = yield* emulator.builds
  const params = new URLSearchParams({ query, state: "finished", ...more })
  const { body } = yield* agent.ask("GET", `builds/${build?.id}/artifacts/search?${params}`)
  return Schema.decodeUnknownSync(Found)(body["text"])
})

const pathsOf = (found: ReadonlyArray<{ readonly path: string }>) => found.map(({ path }) => path)

const download = (url: string) => Effect.flatMap(HttpClient.get(url), ({ text }) => text)

/** An agent that runs a job. */
const running = Effect.fnUntraced(function* (job: string) {
  const agent = yield* connect("bkct_emulator")
  yield* begin(agent, job)
  return agent
})

describe("artifacts", () => {
  it.effect("of one job are found and downloaded by another", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs("a", "b")
      yield* upload(yield* running("a"), "a", { "log/test.log": "two\r\nlines", "pkg/app.bin": "\u0000--xyz" })
      const reader = yield* running("b")
      const found = yield* search(reader, "log/*.log")
      assert.deepStrictEqual(pathsOf(found), ["log/test.log"])
      assert.strictEqual(found[0]?.sha1sum, "sha1 of log/test.log")
      assert.strictEqual(yield* download(found[0]?.url ?? ""), "two\r\nlines")
      const [build] = yield* emulator.builds
      assert.deepStrictEqual(
        build?.artifacts.map(({ jobUuid, path, size, state }) => ({ jobUuid, path, size, state })),
        [
          { jobUuid: "a", path: "log/test.log", size: 10, state: "finished" },
          { jobUuid: "a", path: "pkg/app.bin", size: 6, state: "finished" }
        ]
      )
      const content = yield* emulator.artifact(build?.artifacts[1]?.id ?? "")
      assert.strictEqual(new TextDecoder().decode(content), "\u0000--xyz")
    }).pipe(provided)
  )

  it.effect("are found by patterns, and by the job or the step that made them", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([
        { id: "a", queueKey: "q", step: { key: "build" } },
        { id: "b", queueKey: "q", label: "Tests" }
      ])
      const a = yield* running("a")
      yield* upload(a, "a", { "top.txt": "1", "x/y/deep.txt": "2", "x/one.log": "3" })
      const b = yield* running("b")
      yield* upload(b, "b", { "top.txt": "new" })
      assert.deepStrictEqual(pathsOf(yield* search(b, "*")), ["top.txt", "x/y/deep.txt", "x/one.log"])
      assert.deepStrictEqual(pathsOf(yield* search(b, "**/*.txt")), ["top.txt", "x/y/deep.txt"])
      assert.deepStrictEqual(pathsOf(yield* search(b, "x/???.log")), ["x/one.log"])
      assert.deepStrictEqual(pathsOf(yield* search(b, "TOP.txt")), [])
      assert.deepStrictEqual(pathsOf(yield* search(b, "*", { scope: "build" })), [
        "top.txt",
        "x/y/deep.txt",
        "x/one.log"
      ])
      for (const scope of ["b", "Tests"]) assert.deepStrictEqual(pathsOf(yield* search(b, "*", { scope })), ["top.txt"])
      // The latest of a path, unless all are asked for.
      const [latest] = yield* search(b, "top.txt")
      assert.strictEqual(latest?.job_id, "b")
      assert.lengthOf(yield* search(b, "top.txt", { include_duplicates: "true" }), 2)
    }).pipe(provided)
  )

  it.effect("that are large arrive in parts, if the agent can do that", () =>
    Effect.gen(function* () {
      yield* addJobs("a")
      const agent = yield* running("a")
      const size = 12 * 1024 * 1024
      const body = { id: "large", artifacts: [described("large.bin", size)] }
      assert.isEmpty((yield* create(agent, "a", { ...body, id: "form" })).per_artifact_instructions)
      const created = yield* create(agent, "a", { ...body, multipart_supported: true })
      const [id = ""] = created.artifact_ids
      const actions = created.per_artifact_instructions[id]?.actions ?? []
      assert.deepStrictEqual(
        actions.map(({ method, part_number }) => [method, part_number]),
        [
          ["PUT", 1],
          ["PUT", 2],
          ["PUT", 3]
        ]
      )
      for (const { method, part_number, url } of actions) {
        assert.strictEqual(method, "PUT")
        const part = new Uint8Array(size / 3).fill(part_number)
        const sent = yield* HttpClient.execute(HttpClientRequest.put(url).pipe(HttpClientRequest.bodyUint8Array(part)))
        assert.isNotEmpty(sent.headers["etag"])
        assert.strictEqual(yield* finishAll(agent, "a", [id]), part_number === 3 ? 200 : 422)
      }
      const [found] = yield* search(agent, "large.bin")
      const bytes = yield* Effect.flatMap(HttpClient.get(found?.url ?? ""), ({ arrayBuffer }) => arrayBuffer)
      assert.strictEqual(bytes.byteLength, size)
      assert.strictEqual(new Uint8Array(bytes)[size - 1], 3)
    }).pipe(provided)
  )

  it.effect("are created once, however often an agent repeats itself", () =>
    Effect.gen(function* () {
      yield* addJobs("a")
      const agent = yield* running("a")
      const body = { id: "batch", artifacts: [described("one", 1)] }
      const first = yield* create(agent, "a", body)
      assert.deepStrictEqual((yield* create(agent, "a", body)).artifact_ids, first.artifact_ids)
    }).pipe(provided)
  )

  it.effect("are not found before they are uploaded, and not at other URLs", () =>
    Effect.gen(function* () {
      yield* addJobs("a", "b")
      const agent = yield* running("a")
      const created = yield* create(agent, "a", { id: "batch", artifacts: [described("one", 1)] })
      assert.isEmpty(yield* search(agent, "*"))
      assert.strictEqual(yield* finishAll(agent, "a", created.artifact_ids), 422)
      assert.strictEqual(yield* sendForm(created, "another", "1"), 404)
      assert.strictEqual(yield* sendForm(created, "one", "too long"), 422)
      assert.strictEqual(yield* finishAll(agent, "a", ["unknown"]), 404)
      assert.strictEqual(yield* finishAll(yield* running("b"), "b", created.artifact_ids), 404)
      assert.strictEqual((yield* HttpClient.get("http://x.invalid/v3/emulator/artifacts/guessed")).status, 404)
    }).pipe(provided)
  )

  it.effect("that an agent keeps elsewhere have its URL", () =>
    Effect.gen(function* () {
      yield* addJobs("a")
      const agent = yield* running("a")
      const created = yield* create(agent, "a", {
        id: "elsewhere",
        upload_destination: "s3://bucket/a",
        artifacts: [{ ...described("one", 300 * 1024 * 1024), url: "https://bucket.example/a/one" }]
      })
      assert.strictEqual(yield* finishAll(agent, "a", created.artifact_ids), 200)
      assert.strictEqual((yield* search(agent, "one"))[0]?.url, "https://bucket.example/a/one")
    }).pipe(provided)
  )

  it.effect("of a job that was retried are found only if they are asked for", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.uploadPipelines([{ steps: [{ command: "make", key: "make" }] }])
      const first = (yield* emulator.jobs)[0]?.id ?? ""
      const failing = yield* running(first)
      yield* upload(failing, first, { "both.txt": "old", "first.txt": "1" })
      yield* finish(failing, first, 1)
      const second = (yield* emulator.retryJob(first)).id
      const agent = yield* running(second)
      yield* upload(agent, second, { "both.txt": "new" })
      const jobsOf = (found: typeof Found.Type) => found.map(({ job_id, path }) => [path, job_id])
      const all = { include_duplicates: "true" }
      assert.deepStrictEqual(jobsOf(yield* search(agent, "*", all)), [["both.txt", second]])
      assert.deepStrictEqual(jobsOf(yield* search(agent, "*", { ...all, scope: "make" })), [["both.txt", second]])
      assert.deepStrictEqual(jobsOf(yield* search(agent, "*", { ...all, include_retried_jobs: "true" })), [
        ["both.txt", first],
        ["first.txt", first],
        ["both.txt", second]
      ])
    }).pipe(provided)
  )

  it.effect("beyond 64 MiB are refused before an agent that can't send parts uploads them", () =>
    Effect.gen(function* () {
      yield* addJobs("a")
      const agent = yield* running("a")
      const ask = (size: number, more: object = {}) =>
        agent.ask("POST", "jobs/a/artifacts", { body: { artifacts: [described("one", size)], ...more } })
      const limit = 64 * 1024 * 1024
      assert.strictEqual((yield* ask(limit)).status, 200)
      const refused = yield* ask(limit + 1)
      assert.strictEqual(refused.status, 422)
      assert.match(String(refused.body["message"]), /artifact one is larger than 64 MiB/)
      assert.strictEqual((yield* ask(limit + 1, { multipart_supported: true })).status, 200)
    }).pipe(provided)
  )

  it.effect("beyond 256 MiB are refused with a message", () =>
    Effect.gen(function* () {
      yield* addJobs("a")
      const agent = yield* running("a")
      const body = { artifacts: [described("one", 200 * 1024 * 1024)], multipart_supported: true }
      assert.strictEqual(yield* agent.status("POST", "jobs/a/artifacts", { body }), 200)
      const refused = yield* agent.ask("POST", "jobs/a/artifacts", { body })
      assert.strictEqual(refused.status, 422)
      assert.strictEqual(refused.body["message"], "The emulator keeps at most 256 MiB of artifacts")
    }).pipe(provided)
  )
})
