/** The demo as its users run it: a process with arguments, variables, an output and an exit code. */
import { spawn } from "node:child_process"
import * as Path from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, FileSystem, Redacted } from "effect"
import { bareEnvironment } from "../support/bareEnvironment.ts"
import { open } from "../support/terminal.ts"

const main = Path.resolve(import.meta.dirname, "../../examples/demo/main.ts")

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const demo = (
  args: ReadonlyArray<string>,
  options: {
    readonly env?: Readonly<Record<string, string>>
    /** Sends SIGINT, as Ctrl-C does, once the output holds this. */
    readonly interruptAt?: string
  } = {}
) =>
  Effect.callback<Ended>((resume) => {
    const child = spawn(process.execPath, [main, ...args], {
      env: { ...bareEnvironment, ...options.env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    let interrupted = false
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text
      if (!interrupted && options.interruptAt !== undefined && stdout.includes(options.interruptAt)) {
        interrupted = true
        child.kill("SIGINT")
      }
    })
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text
    })
    child.on("close", (code) => resume(Effect.succeed({ code, stdout, stderr })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const withFile = <A, E, R>(text: string, use: (path: string) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = Path.join(yield* fs.makeTempDirectoryScoped(), "jobs.jsonl")
    yield* fs.writeFileString(path, text)
    return yield* use(path)
  }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))

const finishedLine = (stdout: string) => /^(\d+) of (\d+) reserved jobs finished in [\d.]+ s$/m.exec(stdout)

const assertAllFinished = ({ code, stderr, stdout }: Ended, jobs?: number) => {
  assert.strictEqual(code, 0, stdout + stderr)
  const [, finished, reserved] = finishedLine(stdout) ?? []
  assert.isDefined(finished, stdout)
  assert.strictEqual(finished, reserved)
  if (jobs !== undefined) assert.strictEqual(Number(finished), jobs)
  assert.include(stdout, `The service calls ${finished} of them finished`)
}

const hasControlCharacters = (text: string) => /[^\P{Cc}\n]/u.test(text)

describe.concurrent("against the emulator", () => {
  it.live("finishes every job of its pipeline, within the rate limits, and says so in plain text", () =>
    Effect.gen(function* () {
      const ended = yield* demo([])
      assertAllFinished(ended)
      assert.isAbove(Number(finishedLine(ended.stdout)?.[1]), 200)
      assert.match(ended.stdout, /^ {2}finishJob +\d+ +0 /m)
      assert.match(ended.stdout, /^Requests that met trouble\n {2}none$/m)
      assert.isFalse(hasControlCharacters(ended.stdout))
      assert.strictEqual(ended.stderr, "")
      assert.notMatch(ended.stdout, /bkct_|bkjat_/)
    })
  )

  it.live("finishes every job although every seventh response goes wrong", () =>
    Effect.gen(function* () {
      const ended = yield* demo(["--faults", "--seed", "1"])
      assertAllFinished(ended)
      for (const kind of ["reset", "502 (HTML)", "503", "cut short"]) {
        assert.include(ended.stdout, `× ${kind}`)
      }
      assert.strictEqual(ended.stderr, "")
    })
  )

  it.live("decides the same outcomes for the same seed", () =>
    Effect.gen(function* () {
      const file = Array.from({ length: 40 }, (_, i) => JSON.stringify({ id: `job-${i}`, command: "make test" })).join(
        "\n"
      )
      const outcomes = (seed: string) =>
        withFile(file, (path) => demo(["--jobs", path, "--seed", seed])).pipe(
          Effect.map(({ stdout }) => /^Jobs\n(( {2}\S.*█\n)+)/m.exec(stdout)?.[1])
        )
      const first = yield* outcomes("7")
      assert.isDefined(first)
      assert.strictEqual(yield* outcomes("7"), first)
      assert.notStrictEqual(yield* outcomes("8"), first)
    })
  )

  it.live("leaves the queue and the stack behind in order when it is interrupted", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* demo([], { interruptAt: "Registered" })
      assert.strictEqual(code, 130)
      assert.include(stdout, "Deregistered")
      assert.match(stdout, /^Interrupted: \d+ of \d+ reserved jobs finished/m)
    })
  )
})

describe.concurrent("on a terminal", () => {
  const onTerminal = (args: ReadonlyArray<string>) => open([process.execPath, main, ...args], { columns: 80, rows: 24 })

  const jobs = (command: string) =>
    Array.from({ length: 200 }, (_, i) => JSON.stringify({ id: `job-${i}`, command, step: { key: `step-${i}` } })).join(
      "\n"
    )

  it.live("shows the stack at work, and leaves nothing behind but what it said and the summary", () =>
    withFile(jobs("make test"), (path) =>
      Effect.gen(function* () {
        const pty = yield* onTerminal(["--jobs", path])
        yield* pty.until("jobs that run", (screen) => /^ +\d+s .*step-\d+ +\d+ % of make test$/m.test(screen))
        assert.match(pty.screen()[0] ?? "", /^stacksapi-demo · queue _default +running \d+s$/)
        assert.match(pty.screen().join("\n"), /\d+ of 50 taken · \d+ free · \d+ pending/)
        assert.strictEqual(yield* pty.ended, 0)
        assert.isTrue(pty.hasCursor())
        assert.isFalse(pty.isSecondScreen())
        const left = pty.scrollback()
        assert.match(left, /^Emulated service: /)
        assert.match(left, /^Deregistered$/m)
        assert.match(left, /^200 of 200 reserved jobs finished in/m)
        assert.notMatch(left, /taken|Running/)
      })
    )
  )

  it.live("is left in order with Ctrl-C", () =>
    withFile(jobs("make slow"), (path) =>
      Effect.gen(function* () {
        const pty = yield* onTerminal(["--jobs", path])
        yield* pty.until("jobs that run", (screen) => /^Running: \d+$/m.test(screen))
        yield* pty.type("\u0003")
        assert.strictEqual(yield* pty.ended, 130)
        assert.isTrue(pty.hasCursor())
        assert.match(pty.scrollback(), /^Deregistered$/m)
        assert.match(pty.scrollback(), /^Interrupted: \d+ of \d+ reserved jobs finished in/m)
      })
    )
  )
})

describe.concurrent("with a file of jobs", () => {
  it.live("takes the jobs of the file, however little they say", () =>
    Effect.gen(function* () {
      const lines = [
        JSON.stringify({
          id: "79c74169-ee3e-78c2-82c3-1d3e496c4125",
          priority: 3,
          agent_query_rules: ["queue=elsewhere", "os=linux"],
          pipeline: { slug: "p", uuid: null },
          build: { uuid: null, number: 4, branch: "main" },
          step: { key: null },
          command: "make test",
          env: { CI: "true" },
          unknown: 1
        }),
        "",
        '{"id": "only-an-id"}',
        '{"id": "nulls", "priority": null, "env": null, "command": null, "pipeline": null, "agent_query_rules": null}'
      ]
      assertAllFinished(yield* withFile(lines.join("\r\n"), (path) => demo(["--jobs", path])), 3)
    })
  )

  it.live.each([
    { what: "no JSON", text: '{"id": "a"}\n{"id": ', message: /jobs\.jsonl:2: Not JSON .*one JSON object a line/ },
    { what: "no object", text: '["a"]', message: /jobs\.jsonl:1: Not a job: .*one JSON object a line/ },
    { what: "no id", text: '{"command": "make"}', message: /jobs\.jsonl:1: Not a job: .*id/ },
    { what: "a wrong type", text: '{"id": "a", "priority": "high"}', message: /jobs\.jsonl:1: Not a job: .*priority/ },
    { what: "an id twice", text: '{"id": "a"}\n\n{"id": "a"}', message: /jobs\.jsonl:3: The id "a" is that of line 1/ },
    { what: "nothing", text: "\n", message: /jobs\.jsonl holds no jobs/ }
  ])("says where it can't be read and what to do: $what", ({ message, text }) =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* withFile(text, (path) => demo(["--jobs", path]))
      assert.strictEqual(code, 2)
      assert.match(stderr, message)
      assert.strictEqual(stderr.trim().split("\n").length, 1)
      assert.strictEqual(stdout, "")
    })
  )

  it.live("says that there is no such file", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* demo(["--jobs", "/nowhere/jobs.jsonl"])
      assert.strictEqual(code, 2)
      assert.match(stderr, /Can't read \/nowhere\/jobs\.jsonl: .+/)
    })
  )
})

describe.concurrent("against a service", () => {
  const queueKey = "linux"

  const variables = Effect.map(StacksEmulator.StacksEmulator, ({ baseUrl, token }) => ({
    BUILDKITE_AGENT_ENDPOINT: baseUrl,
    BUILDKITE_CLUSTER_TOKEN: Redacted.value(token)
  }))

  const addJobs = (n: number) =>
    Effect.flatMap(StacksEmulator.StacksEmulator, ({ addJobs }) =>
      addJobs(Array.from({ length: n }, (_, i) => ({ queueKey, command: `make test-${i}` })))
    )

  const layer = NodeStacksEmulator.layer({ token: Redacted.make("bkct_of_somebody") })

  it.live("finishes each job exactly once, also while responses are lost", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(30)
      yield* emulator.setFaults([
        StacksEmulator.Fault.LostResponse({ operations: ["finishJob"], times: 2 }),
        StacksEmulator.Fault.LostResponse({ operations: ["batchReserveJobs", "deregisterStack"], times: 2 })
      ])
      const ended = yield* demo(["--queue", queueKey, "--yes"], { env: yield* variables })
      assertAllFinished(ended, 30)
      assert.include(ended.stdout, `Using the service at ${emulator.baseUrl}`)
      assert.notInclude(ended.stdout + ended.stderr, "bkct_of_somebody")

      for (const { exitStatus, state } of yield* emulator.jobs) {
        assert.strictEqual(state, "finished")
        assert.isTrue(exitStatus !== undefined && [0, 1, -1].includes(exitStatus))
      }
      const finishes = (yield* emulator.requests).filter(({ operation }) => operation === "finishJob")
      assert.strictEqual(finishes.length, 30)
      assert.strictEqual((yield* emulator.notifications).length, 30)
      assert.strictEqual((yield* emulator.stacks).length, 0)
    }).pipe(Effect.provide(layer))
  )

  it.live("sends nothing before it was told --yes", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      const { code, stderr, stdout } = yield* demo(["--queue", queueKey], { env: yield* variables })
      assert.strictEqual(code, 2)
      assert.include(stdout, "finishes each with a made-up outcome")
      assert.include(stderr, "--yes")
      assert.deepStrictEqual(yield* emulator.requests, [])
    }).pipe(Effect.provide(layer))
  )

  it.live("leaves the jobs of a paused queue alone", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* addJobs(1)
      yield* emulator.pauseQueue(queueKey, true)
      const { code, stdout } = yield* demo(["--queue", queueKey, "--yes"], { env: yield* variables })
      assert.strictEqual(code, 0)
      assert.include(stdout, "The queue is paused")
      assert.deepStrictEqual(
        (yield* emulator.jobs).map(({ state }) => state),
        ["scheduled"]
      )
    }).pipe(Effect.provide(layer))
  )

  it.live("fails with one line where the token is refused", () =>
    Effect.gen(function* () {
      const env = { ...(yield* variables), BUILDKITE_CLUSTER_TOKEN: "bkct_of_nobody" }
      const { code, stderr, stdout } = yield* demo(["--queue", queueKey, "--yes"], { env })
      assert.strictEqual(code, 1)
      assert.match(stderr, /^POST http\S+\/v3\/stacks\/register: 401 .+\n$/)
      assert.notInclude(stdout + stderr, "bkct_of_nobody")
    }).pipe(Effect.provide(layer))
  )

  it.live("does not fake what only the emulator can do", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* demo(["--faults", "--yes"], { env: yield* variables })
      assert.strictEqual(code, 2)
      assert.include(stderr, "--jobs and --faults are for the emulator")
    }).pipe(Effect.provide(layer))
  )
})

describe.concurrent("the command line", () => {
  it.live("explains itself", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* demo(["--help"])
      assert.strictEqual(code, 0)
      for (const flag of ["--jobs", "--faults", "--seed", "--queue", "--yes"]) assert.include(stdout, flag)
    })
  )

  it.live("refuses what it does not know", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* demo(["--job", "file"])
      assert.strictEqual(code, 2)
      assert.include(stderr, "--job")
    })
  )
})
