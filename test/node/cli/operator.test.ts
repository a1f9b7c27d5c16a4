/** What an operator tries first: help, JSON for programs, a wrong endpoint, the output of jobs, and the end of a stack. */
import { writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Fiber } from "effect"
import * as ExitStatus from "../../../packages/node/src/internal/cli/exitStatus.ts"
import { bin, environmentOf, type Options, stacksapi, start } from "../../support/cli.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const lines = (text: string): ReadonlyArray<string> => text.trimEnd().split("\n")

const objects = (text: string): ReadonlyArray<Record<string, unknown>> =>
  text === "" ? [] : lines(text).map((line) => JSON.parse(line))

/** Nothing listens there. */
const dead = { BUILDKITE_CLUSTER_TOKEN: "bkct_none", BUILDKITE_AGENT_ENDPOINT: "http://127.0.0.1:9/v3/" }

describe("the word help", () => {
  it.live("means --help, before, between and after the words of a command", () =>
    Effect.gen(function* () {
      for (const [words, path] of [
        [["help"], []],
        [["help", "run"], ["run"]],
        [["run", "help"], ["run"]],
        [["jobs", "help"], ["jobs"]],
        [
          ["help", "jobs", "list"],
          ["jobs", "list"]
        ],
        [
          ["jobs", "help", "list"],
          ["jobs", "list"]
        ],
        [
          ["jobs", "list", "help"],
          ["jobs", "list"]
        ]
      ] as const) {
        assert.deepStrictEqual(yield* stacksapi(words), yield* stacksapi([...path, "--help"]), words.join(" "))
      }
    })
  )
})

layer(NodeStacksEmulator.layer({ rateLimits: false }), { excludeTestServices: true })("stacksapi", (it) => {
  const emulated = Effect.fnUntraced(function* (name: string, jobs: ReadonlyArray<Partial<StacksEmulator.NewJob>>) {
    const emulator = yield* StacksEmulator.StacksEmulator
    const env = { ...environmentOf(emulator), STACKSAPI_KEY: name, STACKSAPI_QUEUE: name }
    yield* emulator.addJobs(jobs.map((job) => ({ queueKey: name, ...job })))
    const call = (args: ReadonlyArray<string>, options: Options = {}) =>
      stacksapi(args, { ...options, env: { ...env, ...options.env } })
    return { emulator, call }
  })

  it.effect("with --json writes JSON on both outputs, whatever happens", () =>
    Effect.gen(function* () {
      const { call } = yield* emulated("json", [{ id: "json-1", command: "true" }])
      yield* call(["register"])
      const many = yield* call(["jobs", "get", "-", "--json"], { stdin: "json-1\nnothing\n" })
      assert.deepStrictEqual(
        objects(many.stdout).map(({ id }) => id),
        ["json-1"]
      )
      const [problem, failure] = objects(many.stderr)
      assert.deepInclude(problem, { level: "error", jobUuid: "nothing" })
      assert.deepInclude(failure, { level: "error", exitStatus: 1, message: "1 of 2 jobs were not read" })
      assert.match(String(failure?.["time"]), /^\d{4}-\d\d-\d\dT.*Z$/)

      const [misused] = objects((yield* call(["jobs", "list", "--json", "--nope"])).stderr)
      assert.deepInclude(misused, { level: "error", exitStatus: 2 })
      const [empty] = objects((yield* call(["jobs", "list", "--json", "--queue", "none"])).stderr)
      assert.deepInclude(empty, { level: "info", message: "The queue none has no scheduled jobs" })
      const logged = objects((yield* call(["jobs", "list", "--json", "--log-level", "debug"])).stderr)
      assert.deepInclude(logged[0], { level: "debug" })
      const run = yield* call(["run", "--json", "--runner", "command", "--until-idle", "--health-port", "0"])
      assert.deepStrictEqual([run.status, objects(run.stdout).at(-1)?.["event"]], [0, "Summary"])
      assert.match(String(objects(run.stderr)[0]?.["message"]), /^Health and metrics: /)
    })
  )

  it.effect("hides a token that was typed as an id, in JSON too", () =>
    Effect.gen(function* () {
      const { call } = yield* emulated("hidden", [])
      yield* call(["register"])
      const { stderr } = yield* call(["jobs", "get", `bkct_${"a".repeat(30)}`, "--json"])
      assert.deepInclude(objects(stderr)[0], { level: "error", exitStatus: 1 })
      assert.notInclude(stderr, "aaaaaaaaaa")
    })
  )

  it.effect("adds the path of the API to an endpoint without one", () =>
    Effect.gen(function* () {
      const { call, emulator } = yield* emulated("path", [])
      const { origin } = new URL(emulator.baseUrl)
      for (const endpoint of [origin, `${origin}/`]) {
        assert.strictEqual((yield* call(["register", "--endpoint", endpoint])).status, 0)
        assert.strictEqual((yield* call(["register"], { env: { BUILDKITE_AGENT_ENDPOINT: endpoint } })).status, 0)
      }
      assert.strictEqual((yield* call(["register", "--endpoint", `${origin}/v4/`])).status, 1)
    })
  )

  it.effect("shows steps without a key by their labels", () =>
    Effect.gen(function* () {
      const { call } = yield* emulated("labels", [
        { step: { key: "unit" }, env: { BUILDKITE_LABEL: "Unit tests" }, command: "true" },
        { env: { BUILDKITE_LABEL: "Ship it" }, command: "echo shipped" },
        { command: "true" }
      ])
      yield* call(["register"])
      const steps = lines((yield* call(["jobs", "list"])).stdout).map((line) => line.split(/ {2,}/)[5])
      assert.deepStrictEqual(steps, ["STEP", "unit", "Ship it", undefined])
      const run = yield* call(["run", "--runner", "command", "--format", "lines", "--until-idle"])
      assert.match(run.stdout, /Finished .* name="emulated-pipeline#1 Ship it" exitStatus=0/)
      assert.match(run.stdout, /Finished .* name="emulated-pipeline#1 unit" exitStatus=0/)
    })
  )

  it.effect(
    "prints the lines of jobs with run --format lines, and with --job-output in JSON, unless they are not wanted",
    () =>
      Effect.gen(function* () {
        const { call, emulator } = yield* emulated("print", [])
        const run = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
          const job = { queueKey: "print", step: { key: "unit" }, command: "echo one; echo two >&2" }
          yield* emulator.addJobs([job])
          return (yield* call(["run", "--runner", "command", "--until-idle", ...args])).stdout
        })
        assert.match(yield* run("--format", "lines"), /^\S+Z emulated-pipeline#1 unit \| one$/m)
        assert.notInclude(yield* run("--format", "lines", "--no-job-output"), "| one")
        const events = objects(yield* run("--json", "--job-output")).filter(({ event }) => event === "Output")
        assert.sameDeepMembers(
          events.map(({ channel, text }) => [channel, text]),
          [
            ["stdout", "one"],
            ["stderr", "two"]
          ]
        )
        assert.notInclude(yield* run("--json"), '"Output"')
      })
  )

  it.effect("jobs log prints the output of a job that an emulator has, and follows it to the job's end", () =>
    Effect.gen(function* () {
      const { call, emulator } = yield* emulated("log", [{ id: "log-1", env: { NPM_TOKEN: "npm_secret" } }])
      yield* call(["register"])
      assert.strictEqual((yield* call(["jobs", "log", "log-1"])).stdout, "")
      yield* emulator.appendJobLog("log-1", "one\n\u001b[32mtwo\u001b[0m npm_secret\nthr")
      assert.strictEqual((yield* call(["jobs", "log", "log-1"])).stdout, "one\ntwo [REDACTED]\n")
      yield* emulator.acquireJob("log-1")
      const following = yield* Effect.forkChild(call(["jobs", "log", "--follow", "--json", "log-1"]))
      yield* emulator.appendJobLog("log-1", "ee\n")
      yield* emulator.completeJob("log-1", 0)
      yield* emulator.appendJobLog("log-1", "late\n")
      const { status, stdout } = yield* Fiber.join(following)
      assert.strictEqual(status, 0)
      assert.deepStrictEqual(
        objects(stdout).map(({ text }) => text),
        ["one", "two [REDACTED]", "three", "late"]
      )
      const unknown = yield* call(["jobs", "log", "nobody"])
      assert.deepStrictEqual(
        [unknown.status, unknown.stderr],
        [1, "stacksapi: The emulator does not know the job nobody\n"]
      )
    })
  )

  it.effect("jobs log tells an emulator that does not respond from one that does not know the job", () =>
    Effect.gen(function* () {
      const { call } = yield* emulated("unknown", [])
      const unknown = yield* call(["jobs", "log", "log-9"])
      assert.deepStrictEqual(
        [unknown.status, unknown.stderr],
        [1, "stacksapi: The emulator does not know the job log-9\n"]
      )
      const server = yield* Effect.acquireRelease(
        Effect.callback<Server>((resume) => {
          const server = createServer(({ url }, response) => {
            if (url === "/ui/job-output") response.end(JSON.stringify({ isWanted: true }))
            else response.writeHead(503).end()
          }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const away = yield* stacksapi(["jobs", "log", "log-9"], {
        env: { ...dead, BUILDKITE_AGENT_ENDPOINT: `${origin}/v3/` }
      })
      assert.deepStrictEqual([away.status, away.stderr], [1, `stacksapi: The emulator at ${origin} does not respond\n`])
    }).pipe(Effect.scoped)
  )

  it.effect("jobs log --follow has the last line of a job that does not end it", () =>
    Effect.gen(function* () {
      const { emulator } = yield* emulated("cut", [{ id: "cut-1" }])
      const { BUILDKITE_AGENT_ENDPOINT: endpoint } = environmentOf(emulator)
      yield* emulator.acquireJob("cut-1")
      yield* emulator.appendJobLog("cut-1", "one\ntw")
      // What the command asks for again and again, with the size that it has got.
      const read = (size: number) =>
        Effect.promise(async () => {
          const response = await fetch(new URL(`/ui/job-log?id=cut-1&size=${size}`, endpoint))
          return (await response.json()) as { readonly size: number; readonly text?: string }
        })
      const first = yield* read(-1)
      assert.strictEqual(first.text, "one\n")
      yield* emulator.completeJob("cut-1", 0)
      const last = yield* read(first.size)
      assert.strictEqual(last.text, "one\ntw")
      assert.isUndefined((yield* read(last.size)).text)
    })
  )

  it.effect("shows the emulator what a job prints that has no agent", () =>
    Effect.gen(function* () {
      const { call, emulator } = yield* emulated("sent", [
        { id: "sent-1", command: "for i in $(seq 500); do echo line $i; done" }
      ])
      yield* call(["run", "--runner", "command", "--until-idle", "--format", "json"])
      const text = Array.from({ length: 500 }, (_, index) => `line ${index + 1}\n`).join("")
      assert.strictEqual(yield* emulator.jobLog("sent-1"), text)
    })
  )
})

describe("stacksapi jobs log --log-directory", () => {
  it.live("prints the file of a job", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFolder
      writeFileSync(join(path, "a%2Fb.log"), "one\ntwo")
      const { status, stdout } = yield* stacksapi(["jobs", "log", "--log-directory", path, "a/b"])
      assert.deepStrictEqual([status, stdout], [0, "one\ntwo\n"])
      const none = yield* stacksapi(["jobs", "log", "c"], { env: { STACKSAPI_LOG_DIRECTORY: path } })
      assert.deepStrictEqual([none.status, none.stderr], [1, `stacksapi: ${path} has no output of the job c\n`])
      const nowhere = yield* stacksapi(["jobs", "log", "c"])
      assert.strictEqual(nowhere.status, 1)
      assert.include(nowhere.stderr, "--log-directory")
    }).pipe(Effect.scoped)
  )
})

describe("stacksapi run", () => {
  it.live("prints no summary after a failed start", () =>
    Effect.gen(function* () {
      for (const format of ["lines", "json"]) {
        const { status, stderr, stdout } = yield* stacksapi(
          ["run", "--key", "k", "--runner", "command", "--format", format],
          { env: { ...environmentOf(yield* StacksEmulator.StacksEmulator), BUILDKITE_CLUSTER_TOKEN: "bkct_wrong" } }
        )
        assert.deepStrictEqual([status, stdout], [1, ""])
        assert.include(stderr, "401")
        // The advice stands there once.
        const last = stderr.trimEnd().split("\n").at(-1) ?? ""
        assert.lengthOf(last.match(/bkct_/g) ?? [], 1, last)
      }
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.live("says at /readyz why no stack is registered, while the service is away at the start", () =>
    Effect.gen(function* () {
      const stack = yield* start(
        process.execPath,
        [bin, "run", "--key", "k", "--runner", "command", "--format", "lines", "--health-port", "0"],
        dead
      )
      yield* stack.seen("RequestFailed")
      const { stderr } = yield* stack.seen("Health and metrics: ")
      const report = yield* Effect.promise(async () =>
        (await fetch(`${/http:\S+/.exec(stderr.slice(stderr.indexOf("Health and metrics")))?.[0]}/readyz`)).json()
      )
      assert.match(report.reason, /^no stack is registered yet: POST http.*ECONNREFUSED/)
    }).pipe(Effect.scoped)
  )

  it.live("ends after Ctrl-C without waiting for a service that is away, and says how to end at once", () =>
    Effect.gen(function* () {
      const stack = yield* start(
        process.execPath,
        [bin, "run", "--key", "k", "--runner", "command", "--format", "lines"],
        dead
      )
      yield* stack.seen("RequestFailed")
      yield* stack.kill("SIGINT")
      const { status, stderr, stdout } = yield* stack.ended
      assert.strictEqual(status, ExitStatus.signals.SIGINT)
      assert.include(stderr, "Stopping. Send a second signal to end at once\n")
      assert.match(stderr, /could not be deregistered: (POST|the service does not respond)/)
      assert.notInclude(stdout, "Jobs ")
    }).pipe(Effect.scoped)
  )

  it.live("says for how many jobs it waits, and that a second signal ends it at once", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ queueKey: "linux", command: "echo begun; sleep 600" }])
      const stack = yield* start(
        process.execPath,
        [bin, "run", "--key", "k", "--queue", "linux", "--runner", "command", "--format", "lines"],
        environmentOf(emulator)
      )
      yield* stack.seen("| begun")
      yield* stack.kill("SIGINT")
      yield* stack.seen("Waiting for 1 running job, at most 30 s. Send a second signal to end at once\n")
      yield* stack.kill("SIGINT")
      assert.strictEqual((yield* stack.ended).status, ExitStatus.signals.SIGINT)
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer()))
  )
})
