/** Every command, with good and bad input, against the emulator over real HTTP. */
import { assert, describe, it, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import packageJson from "../../../packages/node/package.json" with { type: "json" }
import { environmentOf, type Options, stacksapi, start } from "../../support/cli.ts"

/** Calls the command with a stack of its own, whose queue has these jobs. */
const emulated = Effect.fnUntraced(function* (name: string, jobs: ReadonlyArray<Partial<StacksEmulator.NewJob>> = []) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const env = { ...environmentOf(emulator), STACKSAPI_KEY: name, STACKSAPI_QUEUE: name }
  yield* emulator.addJobs(jobs.map((job) => ({ queueKey: name, ...job })))
  const call = (args: ReadonlyArray<string>, options: Options = {}) =>
    stacksapi(args, { ...options, env: { ...env, ...options.env } })
  const job = Effect.fnUntraced(function* (id: string) {
    const found = (yield* emulator.jobs).find((job) => job.id === id)
    return found ?? (yield* Effect.die(`no job ${id}`))
  })
  return { emulator, call, job, registered: call(["register"]) }
})

const lines = (text: string): ReadonlyArray<string> => text.trimEnd().split("\n")
const objects = (text: string): ReadonlyArray<unknown> =>
  text === "" ? [] : lines(text).map((line) => JSON.parse(line))

describe("stacksapi register with a token without a cluster", () => {
  it.live("fails with advice, and registers nothing", () =>
    Effect.gen(function* () {
      const { call, emulator } = yield* emulated("unclustered")
      const { status, stderr } = yield* call(["register"])
      assert.strictEqual(status, 2)
      assert.match(stderr, /must be an agent token of a cluster \(bkct_…\); this one belongs to no cluster/)
      assert.isEmpty(yield* emulator.stacks)
    }).pipe(Effect.provide(NodeStacksEmulator.layer({ rateLimits: false, tokenIdentity: { clusterUuid: "" } })))
  )
})

layer(NodeStacksEmulator.layer({ rateLimits: false }), { excludeTestServices: true })("stacksapi", (it) => {
  describe("register and deregister", () => {
    it.effect("register and deregister a stack", () =>
      Effect.gen(function* () {
        const { call, emulator } = yield* emulated("reg")
        const mine = Effect.map(emulator.stacks, (stacks) => stacks.filter(({ key }) => key === "reg"))
        assert.deepStrictEqual(yield* call(["register", "--metadata", "team=ci", "--metadata", "region=eu"]), {
          status: 0,
          stdout: "The stack reg is registered for the queue reg (connected)\n",
          stderr: ""
        })
        assert.deepStrictEqual(
          (yield* mine).map(({ metadata, type }) => [type, metadata]),
          [["custom", { team: "ci", region: "eu" }]]
        )
        const [stack] = objects((yield* call(["register", "--queue", "other", "--json"])).stdout)
        assert.deepInclude(stack, { key: "reg", clusterQueueKey: "other", type: "custom", lastConnectedOn: null })
        assert.strictEqual((yield* call(["deregister"])).stdout, "The stack reg is deregistered\n")
        assert.isEmpty(yield* mine)
        yield* call(["register"])
        assert.deepStrictEqual(objects((yield* call(["deregister", "--json"])).stdout), [
          { key: "reg", isDeregistered: true }
        ])
      })
    )

    it.effect("exit with 2 for contradictory flags", () =>
      Effect.gen(function* () {
        const { call } = yield* emulated("reg-bad")
        for (const args of [
          ["--key", "not a key"],
          ["--type", "fancy"],
          ["--metadata", "team"],
          ["extra"],
          ["--nope"]
        ]) {
          const { status, stderr, stdout } = yield* call(["register", ...args])
          assert.strictEqual(status, 2, args.join(" "))
          assert.strictEqual(stdout, "")
          assert.match(stderr, /^stacksapi: /)
        }
        const { status, stderr } = yield* call(["deregister"])
        assert.strictEqual(status, 1)
        assert.include(stderr, "404")
      })
    )
  })

  describe("jobs list", () => {
    const jobs = Array.from({ length: 3 }, (_, index) => ({
      id: `list-${index}`,
      priority: index,
      step: { key: `step-${index}` },
      agentQueryRules: ["os=linux"]
    }))

    it.effect("prints a table, or JSON lines with --json", () =>
      Effect.gen(function* () {
        const { call, registered } = yield* emulated("list", jobs)
        yield* registered
        const { status, stderr, stdout } = yield* call(["jobs", "list"])
        assert.strictEqual(status, 0)
        assert.strictEqual(stderr, "")
        const [head = "", ...rows] = lines(stdout)
        assert.match(head, /^ID +PRIO +SCHEDULED +PIPELINE +BRANCH +STEP +RULES$/)
        assert.deepStrictEqual(
          rows.map((row) => row.replace(/\d+s ago|now/, "now").split(/ {2,}/)),
          jobs.map(({ id, priority, step }) => [
            id,
            String(priority),
            "now",
            "emulated-pipeline#1",
            "main",
            step.key,
            "os=linux"
          ])
        )
        const printed = objects((yield* call(["jobs", "list", "--json"])).stdout)
        assert.lengthOf(printed, 3)
        for (const [index, job] of printed.entries()) {
          assert.deepInclude(job, { id: `list-${index}`, priority: index, agentQueryRules: ["os=linux"] })
          assert.match(String(Reflect.get(job as object, "scheduledAt")), /^\d{4}-\d\d-\d\dT.*Z$/)
        }
      })
    )

    it.effect("reports more jobs, an empty queue and a paused queue", () =>
      Effect.gen(function* () {
        const { call, emulator, registered } = yield* emulated(
          "more",
          jobs.map(({ id }) => ({ id: `more-${id}` }))
        )
        yield* registered
        const some = yield* call(["jobs", "list", "--limit", "2", "--json"])
        assert.lengthOf(objects(some.stdout), 2)
        assert.include(some.stderr, "More jobs follow")
        const all = yield* call(["jobs", "list", "--all", "--json"])
        assert.lengthOf(objects(all.stdout), 3)
        yield* emulator.pauseQueue("more", true)
        assert.include((yield* call(["jobs", "list"])).stderr, "is paused")
        const none = yield* call(["jobs", "list", "--queue", "nothing"])
        assert.deepStrictEqual(none, { status: 0, stdout: "", stderr: "The queue nothing has no scheduled jobs\n" })
        assert.strictEqual((yield* call(["jobs", "list", "--limit", "0"])).status, 2)
      })
    )

    it.effect("streams many pages", () =>
      Effect.gen(function* () {
        const { call, registered } = yield* emulated(
          "many",
          Array.from({ length: 2500 }, () => ({}))
        )
        yield* registered
        const ids = objects((yield* call(["jobs", "list", "--all", "--json"])).stdout).map((job) =>
          Reflect.get(job as object, "id")
        )
        assert.strictEqual(new Set(ids).size, 2500)
      })
    )

    it.effect("shows control characters without sending them to the terminal", () =>
      Effect.gen(function* () {
        const { call, registered } = yield* emulated("ansi", [{ step: { key: "\u001b[31mred\u0007\nnext" } }])
        yield* registered
        const { stdout } = yield* call(["jobs", "list"])
        assert.include(stdout, "�[31mred� ⏎ next")
      })
    )
  })

  describe("jobs get", () => {
    it.effect("shows a job's command and environment, without variables named like secrets", () =>
      Effect.gen(function* () {
        const { call, registered } = yield* emulated("get", [
          { id: "get-1", command: "make\nmake test", env: { STAGE: "test", NPM_TOKEN: "npm_secret" } }
        ])
        yield* registered
        const { status, stdout } = yield* call(["jobs", "get", "get-1"])
        assert.strictEqual(status, 0)
        assert.strictEqual(stdout, "get-1\n  $ make\n  $ make test\n  NPM_TOKEN=[redacted]\n  STAGE=test\n")
        assert.deepStrictEqual(objects((yield* call(["jobs", "get", "get-1", "--json"])).stdout), [
          { id: "get-1", command: "make\nmake test", env: { STAGE: "test", NPM_TOKEN: "[redacted]" } }
        ])
        assert.include((yield* call(["jobs", "get", "get-1", "--show"])).stdout, "NPM_TOKEN=npm_secret")
      })
    )

    it.effect("continues after a job that does not exist, and exits with 1", () =>
      Effect.gen(function* () {
        const { call, registered } = yield* emulated("get-many", [{ id: "get-a" }, { id: "get-b" }])
        yield* registered
        const { status, stderr, stdout } = yield* call(["jobs", "get", "-", "--json"], {
          stdin: "get-a\nnothing\n\nget-b\n"
        })
        assert.strictEqual(status, 1)
        assert.deepStrictEqual(
          objects(stdout).map((job) => Reflect.get(job as object, "id")),
          ["get-a", "get-b"]
        )
        const [problem, failure] = objects(stderr)
        assert.deepInclude(problem, { jobUuid: "nothing" })
        assert.match(String(Reflect.get(problem as object, "message")), /^GET .*: 404 /)
        assert.deepInclude(failure, { message: "1 of 3 jobs were not read", exitStatus: 1 })
      })
    )
  })

  it.effect("jobs states prints the states of many jobs, from arguments or the standard input", () =>
    Effect.gen(function* () {
      const { call, registered } = yield* emulated(
        "states",
        Array.from({ length: 1500 }, (_, index) => ({ id: `states-${index}` }))
      )
      yield* registered
      yield* call(["jobs", "reserve", "states-1"])
      const { status, stdout } = yield* call(["jobs", "states", "states-0", "states-1", "nothing"])
      assert.strictEqual(status, 0)
      assert.deepStrictEqual(
        lines(stdout).map((line) => line.split(/ {2,}/)),
        [
          ["ID", "STATE"],
          ["states-0", "scheduled"],
          ["states-1", "reserved"],
          ["nothing", "not known"]
        ]
      )
      const stdin = Array.from({ length: 1500 }, (_, index) => `states-${index}`).join("\n")
      const all = objects((yield* call(["jobs", "states", "--json", "-"], { stdin })).stdout)
      assert.lengthOf(all, 1500)
      assert.deepStrictEqual(all[1], { id: "states-1", state: "reserved" })
      assert.deepStrictEqual(objects((yield* call(["jobs", "states", "nothing", "--json"])).stdout), [
        { id: "nothing", state: null }
      ])
      assert.strictEqual((yield* call(["jobs", "states"])).status, 2)
    })
  )

  it.effect("jobs reserve exits with 1 if a job was not reserved", () =>
    Effect.gen(function* () {
      const { call, job, registered } = yield* emulated("reserve", [{ id: "reserve-1" }])
      yield* registered
      assert.strictEqual((yield* call(["jobs", "reserve", "--expiry", "60", "reserve-1"])).status, 0)
      assert.strictEqual((yield* job("reserve-1")).state, "reserved")
      const { status, stderr, stdout } = yield* call(["jobs", "reserve", "--json", "reserve-1", "nothing"])
      assert.strictEqual(status, 1)
      assert.deepStrictEqual(objects(stdout), [
        { id: "reserve-1", isReserved: true },
        { id: "nothing", isReserved: false }
      ])
      assert.deepInclude(objects(stderr)[0], { message: "1 of 2 jobs were not reserved", exitStatus: 1 })
      assert.strictEqual((yield* call(["jobs", "reserve", "--expiry", "4000", "reserve-1"])).status, 2)
    })
  )

  it.effect("jobs finish and fail end jobs, once", () =>
    Effect.gen(function* () {
      const ids = ["end-0", "end-1", "end-2", "end-3"]
      const { call, job, registered } = yield* emulated(
        "end",
        ids.map((id) => ({ id }))
      )
      yield* registered
      yield* call(["jobs", "reserve", ...ids])
      const finished = yield* call(["jobs", "finish", "end-0", "--exit-status", "0", "--detail", "well"])
      assert.deepStrictEqual(finished, { status: 0, stdout: "end-0 is finished with 0\n", stderr: "" })
      assert.deepInclude(yield* job("end-0"), { state: "finished", exitStatus: 0, detail: "well" })
      const failed = yield* call(["jobs", "fail", "end-1", "--detail", "no machine", "--json"])
      assert.deepStrictEqual(objects(failed.stdout), [{ id: "end-1", exitStatus: -1 }])
      assert.deepInclude(yield* job("end-1"), { exitStatus: -1, detail: "no machine", signalReason: "stack_error" })

      const again = yield* call(["jobs", "finish", "end-0", "--exit-status", "0", "--detail", "well"])
      assert.strictEqual(again.status, 1)
      assert.match(again.stderr, /^stacksapi: .*: 422 The job is already finished\n$/)
      const mixed = yield* call(
        ["jobs", "finish", "-", "--exit-status", "-7", "--detail", "x", "--signal-reason", "cancel"],
        {
          stdin: "end-2\nend-1\nend-3\n"
        }
      )
      assert.strictEqual(mixed.status, 1)
      assert.include(mixed.stderr, "stacksapi: 1 of 3 jobs were not finished")
      assert.deepInclude(yield* job("end-3"), { exitStatus: -7, signalReason: "cancel" })

      for (const args of [
        ["finish", "end-0", "--detail", "x"],
        ["finish", "end-0", "--exit-status", "0"],
        ["finish", "end-0", "--exit-status", "zero", "--detail", "x"],
        ["finish", "end-0", "--exit-status", "0", "--detail", ""],
        ["fail", "end-0", "--exit-status", "0", "--detail", "x"],
        ["fail", "--detail", "x"]
      ]) {
        assert.strictEqual((yield* call(["jobs", ...args])).status, 2, args.join(" "))
      }
    })
  )

  it.effect("jobs notify shows a text on the pages of jobs", () =>
    Effect.gen(function* () {
      const { call, emulator, registered } = yield* emulated("notify", [{ id: "notify-1" }, { id: "notify-2" }])
      yield* registered
      assert.deepStrictEqual(yield* call(["jobs", "notify", "notify-1", "Waiting for a machine"]), {
        status: 0,
        stdout: "notify-1 is notified\n",
        stderr: ""
      })
      const { status, stderr, stdout } = yield* call(["jobs", "notify", "-", "hello", "--json"], {
        stdin: "notify-1\nnothing\nnotify-2"
      })
      assert.strictEqual(status, 1)
      assert.deepStrictEqual(objects(stdout), [
        { id: "notify-1", isNotified: true },
        { id: "notify-2", isNotified: true }
      ])
      const [problem, failure] = objects(stderr)
      assert.deepInclude(problem, { level: "error", jobUuid: "nothing" })
      assert.deepInclude(failure, { message: "1 of 3 notifications were rejected", exitStatus: 1 })
      const stored = (yield* emulator.notifications).filter(({ stackKey }) => stackKey === "notify")
      assert.deepStrictEqual(
        stored.map(({ detail }) => detail),
        ["Waiting for a machine", "hello", "hello"]
      )
      assert.strictEqual((yield* call(["jobs", "notify", "notify-1"])).status, 2)
    })
  )

  it.effect("jobs tokens shows tokens only with --show", () =>
    Effect.gen(function* () {
      const { call, emulator, registered } = yield* emulated("tokens", [{ id: "tokens-1" }])
      yield* registered
      yield* call(["jobs", "reserve", "tokens-1"])
      const hidden = yield* call(["jobs", "tokens", "tokens-1"])
      assert.match(lines(hidden.stdout)[1] ?? "", /^tokens-1 {2}in 1\dm +\[redacted\]$/)
      assert.notInclude((yield* call(["jobs", "tokens", "tokens-1", "--json"])).stdout, "bkjat_")
      const [shown] = objects(
        (yield* call(["jobs", "tokens", "tokens-1", "--show", "--json", "--lifetime", "60"])).stdout
      )
      const token = String(Reflect.get(shown as object, "token"))
      assert.match(token, /^bkjat_/)
      assert.strictEqual((yield* emulator.acquireJob(token)).id, "tokens-1")
      const refused = yield* call(["jobs", "tokens", "tokens-1"])
      assert.strictEqual(refused.status, 1)
      assert.include(refused.stderr, "tokens-1: no token")
    })
  )

  describe("a failure", () => {
    it.effect("of the token says which variable to set, and where to find a token", () =>
      Effect.gen(function* () {
        const { call } = yield* emulated("token")
        const missing = yield* call(["jobs", "list"], { env: { BUILDKITE_CLUSTER_TOKEN: " " } })
        assert.strictEqual(missing.status, 1)
        for (const word of ["BUILDKITE_CLUSTER_TOKEN", "--token-file", "Agent Tokens", "bkct_"])
          assert.include(missing.stderr, word)
        const wrong = yield* call(["jobs", "list"], { env: { BUILDKITE_CLUSTER_TOKEN: "bkct_wrong" } })
        assert.strictEqual(wrong.status, 1)
        assert.match(wrong.stderr, /^stacksapi: GET .*: 401 .*BUILDKITE_CLUSTER_TOKEN.*\n$/)
        assert.notInclude(wrong.stderr, "bkct_wrong")
        const other = { BUILDKITE_CLUSTER_TOKEN: "", BUILDKITE_AGENT_TOKEN: "bkct_emulator" }
        assert.strictEqual((yield* call(["register"], { env: other })).status, 0)
        assert.strictEqual((yield* call(["register", "--token-file", "-"], { stdin: "bkct_emulator\n" })).status, 0)
      })
    )

    it.effect("never shows a token that was given in the wrong place", () =>
      Effect.gen(function* () {
        const { call } = yield* emulated("place")
        for (const args of [["--token", "bkct_secret"], ["--token=bkct_secret"], ["--token-file", "bkct_secret"]]) {
          const { status, stderr, stdout } = yield* call(["jobs", "list", ...args])
          assert.strictEqual(status, 2, args.join(" "))
          assert.notInclude(stdout + stderr, "secret")
          assert.match(stderr, /BUILDKITE_CLUSTER_TOKEN|name of a file/)
        }
      })
    )

    it.effect("of the service is one line with advice, and has its whole cause with --log-level debug", () =>
      Effect.gen(function* () {
        const { call } = yield* emulated("unregistered")
        const { status, stderr } = yield* call(["jobs", "list"])
        assert.strictEqual(status, 1)
        assert.match(stderr, /^stacksapi: GET http.*: 404 .*`stacksapi register`\n$/)
        assert.include((yield* call(["jobs", "list", "--log-level", "debug"])).stderr, "The command failed")
        yield* call(["register"])
        assert.match(
          (yield* call(["jobs", "get", "nobody"])).stderr,
          /^stacksapi: GET http.*: 404 .*Is the job's id right\?/
        )
      })
    )

    it.effect("of the connection names the setting", () =>
      Effect.gen(function* () {
        const { call } = yield* emulated("unreachable")
        const { status, stderr } = yield* call([
          "jobs",
          "list",
          "--endpoint",
          "http://127.0.0.1:9/",
          "--log-level",
          "none"
        ])
        assert.strictEqual(status, 1)
        assert.match(stderr, /^stacksapi: GET .*ECONNREFUSED.*BUILDKITE_AGENT_ENDPOINT.*\n$/)
        for (const endpoint of ["nowhere", "localhost:4567"]) {
          assert.strictEqual((yield* call(["jobs", "list", "--endpoint", endpoint])).status, 2)
        }
        const bad = yield* call(["jobs", "list"], { env: { BUILDKITE_AGENT_ENDPOINT: "nowhere" } })
        assert.strictEqual(bad.status, 1)
        assert.match(bad.stderr, /^stacksapi: BUILDKITE_AGENT_ENDPOINT is not a URL\. .*\n$/)
      })
    )

    it.effect("of a missing command or key is a usage error", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* stacksapi(["jbos"])).status, 2)
        const { status, stderr } = yield* stacksapi(["jobs", "list"])
        assert.strictEqual(status, 2)
        assert.strictEqual(stderr, "stacksapi: Missing required flag: --key\nSee stacksapi jobs list --help\n")
      })
    )

    it.effect("of an invalid value is explained", () =>
      Effect.gen(function* () {
        const problemOf = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
          const { status, stderr } = yield* stacksapi(args)
          assert.strictEqual(status, 2)
          return lines(stderr)[0]
        })
        const invalid = "stacksapi: Invalid value for flag"
        assert.strictEqual(
          yield* problemOf("jobs", "list", "--key", "k", "--limit", "many"),
          `${invalid} --limit: "many". Expected a number`
        )
        assert.strictEqual(
          yield* problemOf("jobs", "watch", "--key", "k", "--tag", "linux"),
          `${invalid} --tag: "linux". Invalid key=value format. Expected format: key=value, got: linux`
        )
        assert.strictEqual(
          yield* problemOf("run", "--key", "k", "--directory", "package.json"),
          `${invalid} --directory: "package.json". Path is not a directory: ${process.cwd()}/package.json`
        )
      })
    )
  })
})

describe("stacksapi", () => {
  it.live("has help for every command with its flags", () =>
    Effect.gen(function* () {
      const commands = [
        ["register"],
        ["deregister"],
        ["run"],
        ["emulator"],
        ...["list", "watch", "get", "states", "reserve", "finish", "fail", "notify", "tokens"].map((name) => [
          "jobs",
          name
        ])
      ]
      for (const command of commands) {
        const { status, stderr, stdout } = yield* stacksapi([...command, "--help"])
        assert.strictEqual(status, 0)
        assert.strictEqual(stderr, "")
        assert.include(stdout, `stacksapi ${command.join(" ")}`)
        assert.include(stdout, "--json")
        assert.notInclude(stdout, "--token ")
      }
    })
  )

  it.live("prints its version, and completions for shells", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* stacksapi(["--version"])).stdout, `stacksapi v${packageJson.version}\n`)
      for (const shell of ["bash", "zsh", "fish"]) {
        assert.include((yield* stacksapi(["--completions", shell])).stdout, "stacksapi")
      }
    })
  )

  it.live("completes commands, flags, values and files in bash", () =>
    Effect.gen(function* () {
      const { stdout: script } = yield* stacksapi(["--completions", "bash"])
      const completed = Effect.fnUntraced(function* (...words: ReadonlyArray<string>) {
        const ask = `
          ${script}
          COMP_LINE="$*" COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
          _stacksapi stacksapi "\${!#}" "\${COMP_WORDS[COMP_CWORD - 1]}"
          printf '%s\\n' "\${COMPREPLY[@]}"`
        const bash = yield* start("/bin/bash", ["-c", ask, "bash", "stacksapi", ...words])
        return lines((yield* bash.ended).stdout)
      })
      assert.deepStrictEqual(yield* completed("jobs", "no"), ["notify"])
      assert.deepStrictEqual(yield* completed("run", "--max"), ["--max-in-flight"])
      assert.deepStrictEqual(yield* completed("run", "--runner", ""), ["agent", "command", "docker"])
      assert.deepStrictEqual(yield* completed("emulator", "--pipeline", "packages/node/package"), [
        "packages/node/package.json"
      ])
      assert.deepStrictEqual(yield* completed("run", "--directory", "packages/no"), ["packages/node"])
    }).pipe(Effect.scoped)
  )
})
