/** `stacksapi emulator`, and `stacksapi run` against it: two terminals. */

import { existsSync, writeFileSync } from "node:fs"
import * as Http from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { bin, run, stacksapi, start } from "../../support/cli.ts"
import { emulator, folderOf } from "../../support/emulatorProcess.ts"
import { until } from "../../support/processes.ts"

const pipeline = `
steps:
  - { label: Install, key: install, command: "echo installed > done" }
  - wait
  - { label: "Test %n", command: "cat done; echo shard $$BUILDKITE_PARALLEL_JOB", parallelism: 2, image: x }
`

describe("stacksapi emulator", () => {
  it.live("serves the jobs of a pipeline and of a file, and prints its address", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "pipeline.yml": pipeline,
        "jobs.jsonl": '{"id":"one","command":"make","agent_query_rules":["queue=linux"]}\n\n{"priority":2}\n'
      })
      const { ended, env, kill, stderr, stdout } = yield* emulator(
        ...["--pipeline", join(folder, "pipeline.yml"), "--jobs", join(folder, "jobs.jsonl"), "--queue", "mine"]
      )
      assert.match(
        stdout,
        /^export BUILDKITE_AGENT_ENDPOINT=http:\/\/127\.0\.0\.1:\d+\/v3\/\nexport BUILDKITE_CLUSTER_TOKEN=bkct_emulator\n$/
      )
      assert.include(stderr, "pipeline.yml: line 5: `image` is ignored")
      assert.match(stderr, /with 5 jobs in linux, mine\. Its page: http:\/\/127\.0\.0\.1:\d+\/\n/)
      assert.strictEqual((yield* stacksapi(["register", "--queue", "linux"], { env })).status, 0)
      assert.include((yield* stacksapi(["jobs", "list", "--queue", "linux", "--json"], { env })).stdout, '"id":"one"')
      // What waits for another job is not listed.
      const mine = yield* stacksapi(["jobs", "list", "--queue", "mine", "--json"], { env })
      assert.lengthOf(mine.stdout.trimEnd().split("\n"), 2)
      yield* kill("SIGTERM")
      assert.strictEqual((yield* ended).status, 0)
    }).pipe(Effect.scoped)
  )

  it.live("reads its token from a file, does not show it, and prints its addresses as JSON", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({ token: "bkct_mine\n" })
      const { ended, kill, seen } = yield* start(process.execPath, [
        bin,
        "emulator",
        "--json",
        "--token-file",
        join(folder, "token")
      ])
      const { stderr, stdout } = yield* seen("}\n")
      const { endpoint, ...rest } = JSON.parse(stdout)
      assert.deepStrictEqual(rest, { page: endpoint.replace("v3/", ""), jobs: 0, queues: [] })
      assert.strictEqual(stderr, "")
      const register = (token: string) =>
        stacksapi(["register", "--key", "k"], {
          env: { BUILDKITE_AGENT_ENDPOINT: endpoint, BUILDKITE_CLUSTER_TOKEN: token }
        })
      assert.strictEqual((yield* register("bkct_mine")).status, 0)
      assert.strictEqual((yield* register("bkct_emulator")).status, 1)
      yield* kill("SIGINT")
      assert.strictEqual((yield* ended).status, 130)
    }).pipe(Effect.scoped)
  )

  it.live("responds under the names of --allowed-host", () =>
    Effect.gen(function* () {
      const { env } = yield* emulator("--allowed-host", "host.docker.internal", "--allowed-host", "emulator")
      const url = new URL("/", env["BUILDKITE_AGENT_ENDPOINT"])
      const status = (host: string) =>
        Effect.callback<number | undefined>((resume) => {
          Http.get(url, { headers: { host }, agent: false }, (response) => {
            response.resume()
            resume(Effect.succeed(response.statusCode))
          })
        })
      for (const host of ["host.docker.internal", "emulator:80", "localhost"]) {
        assert.strictEqual(yield* status(host), 200, host)
      }
      assert.strictEqual(yield* status("evil.example"), 421)
      const wrong = yield* stacksapi(["emulator", "--allowed-host", "http://emulator/"])
      assert.strictEqual(wrong.status, 2)
      assert.include(wrong.stderr, "Expected the name of a host")
    }).pipe(Effect.scoped)
  )

  it.live("reports errors in a file with their position", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "bad.yml": "steps:\n  - make",
        "bad.jsonl": '{"id":"a"}\n{"id":1}',
        "twice.jsonl": '{"id":"a"}\n{"id":"a"}',
        "empty.jsonl": "\n"
      })
      const problemOf = Effect.fnUntraced(function* (flag: string, file: string) {
        const { status, stderr, stdout } = yield* stacksapi(["emulator", flag, join(folder, file)])
        assert.deepStrictEqual([status, stdout], [1, ""])
        return stderr.replaceAll(`${folder}/`, "")
      })
      assert.match(
        yield* problemOf("--pipeline", "bad.yml"),
        /^stacksapi: bad\.yml:2:5: This step is of no known kind\./
      )
      assert.match(yield* problemOf("--jobs", "bad.jsonl"), /^stacksapi: bad\.jsonl:2: Not a job: .*\["id"\]/)
      assert.match(yield* problemOf("--jobs", "twice.jsonl"), /^stacksapi: twice\.jsonl:2: Line 1 has the same id, a\./)
      assert.match(yield* problemOf("--jobs", "empty.jsonl"), /^stacksapi: empty\.jsonl contains no jobs\./)
      assert.match(yield* problemOf("--pipeline", "nothing.yml"), /^stacksapi: Can't read nothing\.yml: /)
      assert.strictEqual((yield* stacksapi(["emulator", "--port", "70000"])).status, 2)
      const taken = yield* emulator()
      const { port } = new URL(taken.env["BUILDKITE_AGENT_ENDPOINT"] ?? "")
      const second = yield* stacksapi(["emulator", "--port", port])
      assert.strictEqual(second.status, 1)
      assert.include(second.stderr, "the port is in use")
    }).pipe(Effect.scoped)
  )
})

describe("stacksapi run --runner command", () => {
  it.live("runs a pipeline to its end, in order", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({ "pipeline.yml": pipeline })
      const { env } = yield* emulator("--pipeline", join(folder, "pipeline.yml"))
      const { status, stdout } = yield* run(
        ["run", "--runner", "command", "--directory", folder, "--until-idle", "--json"],
        env
      )
      assert.strictEqual(status, 0, stdout)
      for (const line of stdout.trimEnd().split("\n")) JSON.parse(line)
    }).pipe(Effect.scoped)
  )

  it.live("exits with 1 if a job failed, and does not start the jobs that depend on it", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({ "pipeline.yml": "steps: [{ command: exit 3 }, wait, { command: touch ran }]" })
      const { env } = yield* emulator("--pipeline", join(folder, "pipeline.yml"))
      const { status, stderr } = yield* run(["run", "--runner", "command", "--until-idle"], env)
      assert.strictEqual(status, 1)
      assert.include(stderr, "stacksapi: a job failed")
    }).pipe(Effect.scoped)
  )

  it.live("drains on SIGTERM, and exits with 0", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "pipeline.yml":
          "steps:\n  - command: touch started; while [ ! -e go ]; do sleep 0.05; done; touch ended\n  - wait\n  - command: touch next"
      })
      const has = (file: string) => existsSync(join(folder, file))
      const { env } = yield* emulator("--pipeline", join(folder, "pipeline.yml"))
      const running = yield* start(
        process.execPath,
        [bin, "run", "--runner", "command", "--directory", folder, "--json", "--health-port", "0"],
        env
      )
      yield* until(() => has("started"))
      const { stderr } = yield* running.seen("Health and metrics: ")
      const url = /http:[^\s"]+/.exec(stderr)?.[0] ?? ""
      const phase = Effect.promise(() => fetch(`${url}/healthz`).then((response) => response.text()))
      yield* running.kill("SIGTERM")
      yield* phase.pipe(Effect.repeat({ until: (text) => text.includes('"draining"') }))
      writeFileSync(join(folder, "go"), "")
      assert.strictEqual((yield* running.ended).status, 0)
      assert.isTrue(has("ended"))
      assert.isFalse(has("next"))
    }).pipe(Effect.scoped)
  )

  it.live("ends at once on the second signal", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({ "pipeline.yml": "steps: [{ command: touch started; sleep 600 }]" })
      const { env } = yield* emulator("--pipeline", join(folder, "pipeline.yml"))
      const running = yield* start(
        process.execPath,
        [bin, "run", "--runner", "command", "--directory", folder, "--json"],
        env
      )
      yield* until(() => existsSync(join(folder, "started")))
      yield* running.kill("SIGTERM")
      yield* running.kill("SIGINT")
      assert.oneOf((yield* running.ended).status, [130, 143])
    }).pipe(Effect.scoped)
  )

  it.live("reports what a runner lacks before it takes a job", () =>
    Effect.gen(function* () {
      const env = { BUILDKITE_CLUSTER_TOKEN: "bkct_none", BUILDKITE_AGENT_ENDPOINT: "http://127.0.0.1:9/" }
      const agents = yield* stacksapi(["run", "--key", "k"], { env })
      assert.strictEqual(agents.status, 2)
      assert.include(agents.stderr, "--build-path")
      const noAgent = yield* stacksapi(["run", "--key", "k", "--build-path", tmpdir(), "--agent-path", "/nothing"], {
        env
      })
      assert.strictEqual(noAgent.status, 1)
      assert.include(noAgent.stderr, "--agent-path")
      const noFolder = yield* stacksapi(["run", "--key", "k", "--runner", "command", "--directory", "/nothing"], {
        env
      })
      assert.strictEqual(noFolder.status, 1)
      assert.include(noFolder.stderr, "--directory")
    })
  )
})

describe("The pipeline of this repository", () => {
  it.live("is accepted by the emulator", () =>
    Effect.gen(function* () {
      const { kill, stderr } = yield* emulator("--pipeline", ".buildkite/pipeline.yml")
      assert.match(stderr, /with \d+ jobs in _default/)
      assert.notInclude(stderr, "ignored")
      yield* kill("SIGTERM")
    }).pipe(Effect.scoped)
  )
})
