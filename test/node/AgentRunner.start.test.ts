/** What agents are started with, and what must be there before the first one is. */
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { JobRunner, Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { AgentRunner, JobOutput } from "@stacksapi/node"
import { ConfigProvider, Context, Effect, Fiber, Layer, Queue, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import { commandRunner, jobWith } from "../support/commands.ts"
import { processesWith, until } from "../support/processes.ts"
import { standIn } from "../support/standInAgentSetup.ts"
import { reserved, runner, service, stackOptions } from "../support/standInAgentStack.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

/** An agent that prints what it was started with, and leaves. */
const curious = (path: string) => {
  const file = join(path, "curious")
  writeFileSync(file, `#!/bin/sh\ntr '\\0' ' ' </proc/$$/cmdline; echo; env; pwd\n`)
  chmodSync(file, 0o755)
  return file
}

/** Starts an agent for a job; gives all lines that it printed. */
const linesOf = Effect.fnUntraced(function* (options: AgentRunner.Options) {
  const { context, jobUuid } = yield* reserved()
  const token = Redacted.value(yield* context.acquisitionToken)
  return yield* Effect.gen(function* () {
    const { run } = yield* JobRunner.JobRunner
    const { tail } = yield* JobOutput.JobOutput
    yield* Effect.exit(run({ ...context, acquisitionToken: Effect.succeed(Redacted.make(token)) }))
    return { lines: yield* tail(jobUuid), jobUuid, token }
  }).pipe(Effect.provide(AgentRunner.layer(options)))
}, Effect.scoped)

const valueOf = (lines: ReadonlyArray<string>, name: string) =>
  lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1)

describe("An agent that can't be started at the moment, because", () => {
  const troubles: ReadonlyArray<readonly [what: string, befall: (path: string) => void, says: RegExp]> = [
    [
      "it is missing",
      (path) => rmSync(join(path, "curious")),
      /^The agent \S+\/curious did not start: there is no such file or folder \(ENOENT\)$/
    ],
    [
      "it is not executable",
      (path) => chmodSync(join(path, "curious"), 0o644),
      /^The agent \S+\/curious did not start: permission denied \(EACCES\)$/
    ],
    [
      "its interpreter is missing",
      (path) => writeFileSync(join(path, "curious"), "#!/no/such/interpreter\n"),
      /^The agent \S+\/curious did not start: there is no such file or folder \(ENOENT\)$/
    ],
    [
      "it is only half written",
      (path) => writeFileSync(join(path, "curious"), ""),
      /^The agent did not run the job \(exit status 0: it could not acquire the job\)/
    ],
    [
      "its folder is no folder",
      (path) => {
        rmSync(join(path, "builds"), { recursive: true })
        writeFileSync(join(path, "builds"), "")
      },
      /^Can't make the folder \S+\/builds\/slot-1 for the agent: it is not a file, or its path leads through one$/
    ]
  ]
  for (const [what, befall, says] of troubles) {
    it.live(`${what}, can be tried again`, () =>
      Effect.gen(function* () {
        const path = yield* temporaryFolder
        const { context } = yield* reserved()
        const options = { agentPath: curious(path), buildPath: join(path, "builds"), endpoint: "http://x.invalid" }
        const built = yield* Layer.build(AgentRunner.layer(options))
        befall(path)
        const { isRetryable, message } = yield* Effect.flip(Context.get(built, JobRunner.JobRunner).run(context))
        assert.isTrue(isRetryable)
        assert.match(message, says)
      }).pipe(Effect.scoped, Effect.provide(service))
    )
  }
})

layer(service, { excludeTestServices: true })("An agent", (it) => {
  describe("is started", () => {
    it.effect("with its settings in the environment, and no argument but `start`", () =>
      Effect.gen(function* () {
        const path = yield* temporaryFolder
        const { jobUuid, lines } = yield* linesOf({
          agentPath: curious(path),
          buildPath: join(path, "builds"),
          endpoint: "http://127.0.0.1:1/v3",
          tags: ["queue=linux", "os=debian"],
          cancelGracePeriod: "7 seconds",
          redactedVars: []
        })
        assert.isTrue(lines[0]?.trim().endsWith("/curious start"), lines[0])
        assert.strictEqual(valueOf(lines, "BUILDKITE_AGENT_ACQUIRE_JOB"), jobUuid)
        assert.strictEqual(valueOf(lines, "BUILDKITE_AGENT_ENDPOINT"), "http://127.0.0.1:1/v3")
        assert.strictEqual(valueOf(lines, "BUILDKITE_AGENT_NAME"), "s-1")
        assert.strictEqual(valueOf(lines, "BUILDKITE_AGENT_TAGS"), "queue=linux,os=debian")
        assert.strictEqual(valueOf(lines, "BUILDKITE_BUILD_PATH"), join(path, "builds", "slot-1"))
        assert.strictEqual(valueOf(lines, "BUILDKITE_AGENT_REFLECT_EXIT_STATUS"), "false")
        assert.strictEqual(valueOf(lines, "BUILDKITE_WRITE_JOB_LOGS_TO_STDOUT"), "true")
        // Version 3 from 3.60 to 3.73.0 would kill a canceled job earlier without the second one. Version 4 reads the other two.
        assert.strictEqual(valueOf(lines, "BUILDKITE_CANCEL_GRACE_PERIOD"), "7")
        assert.strictEqual(valueOf(lines, "BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS"), "6")
        assert.strictEqual(valueOf(lines, "BUILDKITE_CANCEL_SIGNAL_TIMEOUT"), "7000ms")
        assert.strictEqual(valueOf(lines, "BUILDKITE_CANCEL_CLEANUP_TIMEOUT"), "5s")
        assert.strictEqual(lines.at(-1), join(path, "builds", "slot-1"))
      }).pipe(Effect.scoped)
    )

    it.effect("with the job's token, which appears nowhere else", () =>
      Effect.gen(function* () {
        const path = yield* temporaryFolder
        const { lines, token } = yield* linesOf({
          agentPath: curious(path),
          buildPath: path,
          endpoint: "http://x.invalid"
        })
        assert.strictEqual(valueOf(lines, "BUILDKITE_AGENT_TOKEN"), "[REDACTED]")
        assert.notInclude(lines.join("\n"), token)
      }).pipe(Effect.scoped)
    )

    it.effect("with only those variables of this process that programs need", () =>
      Effect.gen(function* () {
        const path = yield* temporaryFolder
        process.env["BUILDKITE_CLUSTER_TOKEN"] = "bkct_not_for_agents"
        process.env["SOME_OTHER_SETTING"] = "not for agents"
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            delete process.env["BUILDKITE_CLUSTER_TOKEN"]
            delete process.env["SOME_OTHER_SETTING"]
          })
        )
        const { lines } = yield* linesOf({
          agentPath: curious(path),
          buildPath: path,
          endpoint: "http://x.invalid",
          env: { BUILDKITE_CLUSTER_TOKEN: "bkct_by_mistake", MINE: "mine", HIDDEN: Redacted.make("hush") },
          redactedVars: []
        })
        assert.notInclude(lines.join("\n"), "bkct_")
        assert.notInclude(lines.join("\n"), "SOME_OTHER_SETTING")
        assert.strictEqual(valueOf(lines, "PATH"), process.env["PATH"])
        assert.strictEqual(valueOf(lines, "MINE"), "mine")
        assert.strictEqual(valueOf(lines, "HIDDEN"), "[REDACTED]")
      }).pipe(Effect.scoped)
    )

    it.effect("with the endpoint and name of the options", () =>
      Effect.gen(function* () {
        const path = yield* temporaryFolder
        const agentPath = curious(path)
        const { lines } = yield* linesOf({ agentPath, buildPath: path, name: "builder" }).pipe(
          Effect.provide(
            ConfigProvider.layer(
              ConfigProvider.fromUnknown({ BUILDKITE_AGENT_ENDPOINT: "http://configured.invalid/v3" })
            )
          )
        )
        assert.strictEqual(valueOf(lines, "BUILDKITE_AGENT_ENDPOINT"), "http://configured.invalid/v3")
        assert.strictEqual(valueOf(lines, "BUILDKITE_AGENT_NAME"), "builder-1")
        const named = yield* linesOf({
          agentPath,
          buildPath: path,
          name: ({ job, slot, stackKey }) => `${stackKey} ${slot} ${job.id}`
        })
        assert.strictEqual(valueOf(named.lines, "BUILDKITE_AGENT_NAME"), `s 1 ${named.jobUuid}`)
      }).pipe(Effect.scoped)
    )

    it.effect("in the lowest free slot, which no other agent has", () =>
      Effect.gen(function* () {
        const agents = yield* standIn
        yield* agents.setPlans({ "*": { millis: 60_000 } })
        yield* Effect.gen(function* () {
          const { run } = yield* JobRunner.JobRunner
          const output = yield* JobOutput.JobOutput
          const started = yield* Queue.unbounded<string>()
          yield* output.lines.pipe(
            Stream.runForEach(({ text }) =>
              text.startsWith("Starting ") ? Queue.offer(started, text.slice("Starting ".length)) : Effect.void
            ),
            Effect.forkScoped({ startImmediately: true })
          )
          const begin = Effect.gen(function* () {
            const { context } = yield* reserved()
            const fiber = yield* Effect.forkScoped(run(context))
            return { fiber, name: yield* Queue.take(started) }
          })
          const first = yield* begin
          const second = yield* begin
          yield* Fiber.interrupt(first.fiber)
          const third = yield* begin
          const fourth = yield* begin
          assert.deepStrictEqual(
            [first, second, third, fourth].map(({ name }) => name),
            ["s-1", "s-2", "s-1", "s-3"]
          )
          yield* Fiber.interruptAll([second, third, fourth].map(({ fiber }) => fiber))
          assert.deepStrictEqual(readdirSync(agents.buildPath).toSorted(), ["slot-1", "slot-2", "slot-3"])
        }).pipe(Effect.provide(runner(agents)))
      }).pipe(Effect.scoped)
    )
  })

  describe("whose output is kept in files", () => {
    it.effect("has one file for each job, readable by this user only", () =>
      Effect.gen(function* () {
        const path = yield* temporaryFolder
        const { jobUuid, lines } = yield* linesOf({
          agentPath: curious(path),
          buildPath: path,
          endpoint: "http://x.invalid",
          logDirectory: join(path, "logs")
        })
        const file = join(path, "logs", `${jobUuid}.log`)
        assert.strictEqual(readFileSync(file, "utf8"), `${lines.join("\n")}\n`)
        assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      }).pipe(Effect.scoped)
    )

    it.effect(
      "takes the file of an earlier run from other users, and a folder that has been removed is made again",
      () =>
        Effect.gen(function* () {
          const path = yield* temporaryFolder
          const logs = join(path, "logs")
          const { run } = yield* commandRunner({ logDirectory: logs })
          const context = jobWith("echo more")
          const file = join(logs, `${context.job.id}.log`)
          writeFileSync(file, "some\n")
          chmodSync(file, 0o644)
          yield* run(context)
          assert.strictEqual(readFileSync(file, "utf8"), "some\nmore\n")
          assert.strictEqual(statSync(file).mode & 0o777, 0o600)
          rmSync(logs, { recursive: true })
          yield* run(context)
          assert.strictEqual(readFileSync(file, "utf8"), "more\n")
        }).pipe(Effect.scoped)
    )
  })
})

describe("An agent that can't be run", () => {
  /** The error of a stack with this runner, and the requests that it made. */
  const attempt = Effect.fnUntraced(function* (options: AgentRunner.Options) {
    const emulator = yield* StacksEmulator.StacksEmulator
    yield* emulator.addJobs([{ queueKey: "q" }])
    const error = yield* Stack.run(stackOptions).pipe(Effect.provide(AgentRunner.layer(options)), Effect.flip)
    assert.isEmpty(yield* emulator.requests)
    return error instanceof AgentRunner.AgentUnusable ? error : assert.fail(String(error))
  })

  const file = (path: string, text: string, mode: number) => {
    const name = join(path, "agent")
    writeFileSync(name, text)
    chmodSync(name, mode)
    return name
  }

  const cases: ReadonlyArray<{
    readonly what: string
    readonly agentPath: (path: string) => string
    readonly says: (path: string) => string
  }> = [
    {
      what: "a path where nothing is",
      agentPath: (path) => join(path, "nothing"),
      says: (path) =>
        `Can't run the agent ${path}/nothing: there is no such file; install buildkite-agent, or set agentPath to its path`
    },
    {
      what: "a name that is nowhere on PATH",
      agentPath: () => "no-such-agent",
      says: () => "Can't run the agent no-such-agent: it is in no folder of PATH"
    },
    {
      what: "a folder",
      agentPath: (path) => path,
      says: (path) => `Can't run the agent ${path}: ${path} is not a file`
    },
    {
      what: "a file that is not executable",
      agentPath: (path) => file(path, "#!/bin/sh\n", 0o644),
      says: (path) => `Can't run the agent ${path}/agent: ${path}/agent is not executable`
    },
    {
      what: "a script whose interpreter is missing",
      agentPath: (path) => file(path, "#!/no/such/interpreter\n", 0o755),
      says: (path) =>
        `Can't run the agent ${path}/agent: the system does not start it: there is no such file or folder (ENOENT)`
    },
    {
      what: "a program that prints without end",
      agentPath: (path) => file(path, "#!/bin/sh\nexec yes\n", 0o755),
      says: (path) => `Can't run the agent ${path}/agent: \`--version\` prints more than 64 KiB: y; `
    },
    {
      what: "a script that finds no agent",
      agentPath: (path) => file(path, "#!/bin/sh\nexec no-such-agent\n", 0o755),
      says: (path) => `Can't run the agent ${path}/agent: \`--version\` ended with exit status 127`
    }
  ]

  for (const { agentPath, says, what } of cases) {
    it.live(`because it is ${what}, is an error before anything is asked of the service`, () =>
      Effect.gen(function* () {
        const path = yield* temporaryFolder
        const { message, option } = yield* attempt({ agentPath: agentPath(path), buildPath: join(path, "builds") })
        assert.strictEqual(option, "agentPath")
        assert.isTrue(message.startsWith(says(path)), message)
      }).pipe(Effect.scoped, Effect.provide(service))
    )
  }

  it.effect("because `--version` ignores signals and takes longer than 10 seconds, fails the layer", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFolder
      const agentPath = file(
        path,
        `#!/bin/sh\n# The shell would say that its child was killed.\nexec 2>/dev/null\ntrap '' HUP INT TERM\necho $$ >${path}/pid\nwhile :; do sleep 0.05; done\n`,
        0o755
      )
      const failing = yield* Effect.forkChild(attempt({ agentPath, buildPath: join(path, "builds") }))
      yield* TestClock.withLive(until(() => existsSync(join(path, "pid"))))
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(failing.pollUnsafe())
      yield* TestClock.adjust("1 second").pipe(
        Effect.andThen(TestClock.withLive(Effect.sleep("20 millis"))),
        Effect.repeat({ until: () => failing.pollUnsafe() !== undefined })
      )
      const { message } = yield* Fiber.join(failing)
      assert.isTrue(message.startsWith(`Can't run the agent ${agentPath}: \`--version\` takes more than 10s;`), message)
      assert.isEmpty(processesWith(path))
    }).pipe(Effect.scoped, Effect.provide(service))
  )

  it.live("does not include one whose `--version` leaves a process that holds its output open", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFolder
      const agentPath = file(
        path,
        `#!/bin/sh\nMARK=${path} setsid sh -c 'trap "" TERM; echo 4.0.0; sleep 600' &\nsleep 0.1\n`,
        0o755
      )
      yield* Layer.build(AgentRunner.layer({ agentPath, buildPath: join(path, "builds") }))
      assert.isEmpty(processesWith(path))
    }).pipe(Effect.scoped)
  )

  it.live("because its build path can't be created, fails the layer before any request", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFolder
      const buildPath = join(file(path, "", 0o644), "builds")
      const { message, option } = yield* attempt({ agentPath: "/bin/sh", buildPath })
      assert.strictEqual(option, "buildPath")
      assert.isTrue(message.startsWith(`Can't write to the folder ${buildPath}: `), message)
    }).pipe(Effect.scoped, Effect.provide(service))
  )

  it.live.runIf(process.platform === "linux")(
    "because its build path is in a file system that makes no folders, too",
    () =>
      Effect.gen(function* () {
        const { message } = yield* attempt({ agentPath: "/bin/true", buildPath: "/proc/builds/here" })
        assert.match(message, /^Can't write to the folder \/proc\/builds\/here: there is no such file or folder; /)
      }).pipe(Effect.scoped, Effect.provide(service))
  )

  it.live("because its log folder can't be created, fails the layer before any request", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFolder
      const logDirectory = join(file(path, "", 0o755), "logs")
      const { option } = yield* attempt({ agentPath: "/bin/true", buildPath: join(path, "builds"), logDirectory })
      assert.strictEqual(option, "logDirectory")
      assert.isFalse(existsSync(logDirectory))
    }).pipe(Effect.scoped, Effect.provide(service))
  )
})
