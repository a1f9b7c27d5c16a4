/** Jobs whose commands a stack runs itself. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Stack } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { CommandRunner } from "@stacksapi/node"
import { Effect, Fiber, Layer, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import { commandRunner, jobWith, runCommand } from "../support/commands.ts"
import { isAlive, until } from "../support/processes.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

describe("A command", () => {
  it.live("that succeeds finishes its job with 0 and the last lines of its output", () =>
    Effect.gen(function* () {
      const { detail, exitStatus, signalReason } = yield* runCommand("echo one; echo two >&2; sleep 0.1; echo three")
      assert.strictEqual(exitStatus, 0)
      assert.isUndefined(signalReason)
      assert.isTrue(detail.startsWith("The command ended with exit status 0\n\n"), detail)
      assert.deepStrictEqual(detail.split("\n").slice(2).toSorted(), ["one", "three", "two"])
    })
  )

  it.live("that fails finishes its job with its exit status", () =>
    Effect.gen(function* () {
      const { detail, exitStatus } = yield* runCommand("echo sorry; exit 7")
      assert.strictEqual(exitStatus, 7)
      assert.strictEqual(detail, "The command ended with exit status 7\n\nsorry")
    })
  )

  it.live("of several lines ends at the first one that fails", () =>
    Effect.gen(function* () {
      const { exitStatus, lines } = yield* runCommand("echo one\nfalse\necho two")
      assert.strictEqual(exitStatus, 1)
      assert.deepStrictEqual(lines, ["one"])
    })
  )

  it.live("that a signal ends finishes its job with 128 and the signal's number", () =>
    Effect.gen(function* () {
      const { detail, exitStatus } = yield* runCommand("kill -SEGV $$")
      assert.strictEqual(exitStatus, 139)
      assert.strictEqual(detail, "The command ended with exit status 139, as after SIGSEGV")
    })
  )

  for (const signal of process.platform === "linux" ? [35, 37, 64] : []) {
    it.live(`that the real-time signal ${signal} ends finishes its job with 128 and the signal's number`, () =>
      Effect.gen(function* () {
        const { detail, exitStatus } = yield* runCommand(`echo begun; kill -${signal} $$; echo not reached`)
        assert.strictEqual(exitStatus, 128 + signal)
        assert.strictEqual(
          detail,
          `The command ended with exit status ${128 + signal}, as after signal ${signal}\n\nbegun`
        )
      })
    )
  }

  it.live("that survives a signal to its own group ends with its own status", () =>
    Effect.gen(function* () {
      const { exitStatus, lines } = yield* runCommand(
        "trap 'echo caught' TERM USR1 ALRM; kill -TERM 0; kill -USR1 0; kill -ALRM 0; exit 5"
      )
      assert.deepStrictEqual(lines, ["caught", "caught", "caught"])
      assert.strictEqual(exitStatus, 5)
    })
  )

  it.live("that contains a NUL character fails with that reason", () =>
    Effect.gen(function* () {
      const { run } = yield* commandRunner()
      const error = yield* Effect.flip(run(jobWith("echo \0")))
      assert.strictEqual(error.message, "The job's command has a NUL character in it")
    }).pipe(Effect.scoped)
  )

  it.live("has the shell's name as $0, no parameters, and SHLVL 1", () =>
    Effect.gen(function* () {
      const { lines } = yield* runCommand('echo "$0 $# $SHLVL"', { shell: ["/bin/bash", "-e", "-c"] })
      assert.deepStrictEqual(lines, ["/bin/bash 0 1"])
    })
  )

  it.live("gets variables with invalid names, and the file of BASH_ENV runs once", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFolder
      const file = join(path, "env")
      writeFileSync(file, "echo once\n")
      const { lines } = yield* runCommand("env | grep ^a.b=", {
        env: { "a.b": "dots", BASH_ENV: file },
        shell: ["/bin/bash", "-c"]
      })
      assert.deepStrictEqual(lines, ["once", "a.b=dots"])
    }).pipe(Effect.scoped)
  )

  it.live("with a long output leaves its last lines in the detail", () =>
    Effect.gen(function* () {
      const { detail, lines } = yield* runCommand('for i in $(seq 2000); do echo "line $i"; done')
      assert.strictEqual(lines.length, 100)
      assert.strictEqual(lines.at(-1), "line 2000")
      assert.isTrue(detail.endsWith("line 1999\nline 2000"))
      assert.isBelow(Buffer.byteLength(detail), 4096)
    })
  )

  it.live("that is missing fails with that reason", () =>
    Effect.gen(function* () {
      const { run } = yield* commandRunner()
      const error = yield* Effect.flip(run(jobWith(" \n ")))
      assert.strictEqual(error.message, "The job has no command to run")
    }).pipe(Effect.scoped)
  )

  it.live("that can't be passed to a shell fails without showing its secrets", () =>
    Effect.gen(function* () {
      const { run } = yield* commandRunner()
      const error = yield* Effect.flip(run(jobWith("true", { MY_SECRET: "hush-hush\0" })))
      assert.match(
        error.message,
        /^Can't start \/\S+: a value is invalid, for example because it has a NUL character \(EINVAL\)$/
      )
      assert.notInclude(String(error.cause ?? ""), "hush")
    }).pipe(Effect.scoped)
  )

  it.live("is run by the shell of the option", () =>
    Effect.gen(function* () {
      for (const shell of [[process.execPath, "-e"], [process.execPath]] as const) {
        const { lines } = yield* runCommand("console.log(6 * 7)", { shell })
        assert.deepStrictEqual(lines, ["42"])
      }
    })
  )
})

describe("What a command gets", () => {
  it.live("is its job's environment, and the variables that Buildkite sets", () =>
    Effect.gen(function* () {
      const { jobUuid, lines } = yield* runCommand("env", { env: { GREETING: "hello", BUILDKITE_BRANCH: "its-own" } })
      assert.includeMembers(
        [...lines],
        [
          "GREETING=hello",
          "CI=true",
          "BUILDKITE=true",
          `BUILDKITE_JOB_ID=${jobUuid}`,
          "BUILDKITE_PIPELINE_SLUG=the-pipeline",
          "BUILDKITE_BUILD_NUMBER=42",
          "BUILDKITE_STEP_KEY=the-step",
          "BUILDKITE_BRANCH=its-own"
        ]
      )
    })
  )

  it.live("is only those variables of this process that programs need", () =>
    Effect.gen(function* () {
      process.env["BUILDKITE_CLUSTER_TOKEN"] = "bkct_not_for_jobs"
      process.env["SOME_OTHER_SETTING"] = "not for jobs"
      const certificates = process.env["NODE_EXTRA_CA_CERTS"]
      process.env["NODE_EXTRA_CA_CERTS"] = "/etc/ssl/company.pem"
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (certificates === undefined) delete process.env["NODE_EXTRA_CA_CERTS"]
          else process.env["NODE_EXTRA_CA_CERTS"] = certificates
          delete process.env["BUILDKITE_CLUSTER_TOKEN"]
          delete process.env["SOME_OTHER_SETTING"]
        })
      )
      const { run, tail } = yield* commandRunner({
        env: { MINE: "mine", BUILDKITE_AGENT_TOKEN: "by-mistake" },
        redactedVars: []
      })
      const context = jobWith("env")
      yield* run(context)
      const lines = yield* tail(context.job.id)
      const names = lines.map((line) => line.split("=")[0])
      assert.includeMembers(names, ["MINE", "PATH"])
      // Programs of Node that the command starts trust the same certificates as the stack.
      assert.include(lines, "NODE_EXTRA_CA_CERTS=/etc/ssl/company.pem")
      for (const name of ["BUILDKITE_CLUSTER_TOKEN", "BUILDKITE_AGENT_TOKEN", "SOME_OTHER_SETTING"]) {
        assert.notInclude(names, name)
      }
    }).pipe(Effect.scoped)
  )

  it.live("is an empty folder of its own, which is removed afterwards", () =>
    Effect.gen(function* () {
      const { lines } = yield* runCommand("ls -A; mkdir -p a/b; touch a/b/c; pwd")
      assert.strictEqual(lines.length, 1)
      assert.isFalse(existsSync(lines[0] ?? ""))
    })
  )

  it.live("is the folder of the option, which stays", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFolder
      const { lines } = yield* runCommand("pwd; echo made >it", { workingDirectory: path })
      assert.deepStrictEqual(lines, [path])
      assert.strictEqual(readFileSync(join(path, "it"), "utf8"), "made\n")
    }).pipe(Effect.scoped)
  )

  it.live("is an empty input", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* runCommand("cat")).exitStatus, 0)
    })
  )
})

describe("A command that is stopped", () => {
  /** Starts a command, and waits for the pid that it prints. */
  const begin = Effect.fnUntraced(function* (command: string, options?: CommandRunner.Options) {
    const { lines, run } = yield* commandRunner(options)
    const heard = yield* Stream.runHead(lines).pipe(Effect.forkChild({ startImmediately: true }))
    const fiber = yield* Effect.forkChild(run(jobWith(command)))
    const line = yield* Effect.flatMap(Fiber.join(heard), Effect.fromOption)
    return { fiber, pid: Number(line.text) }
  })

  it.live("gets SIGTERM, and can clean up", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFolder
      const { fiber, pid } = yield* begin(
        `trap 'echo cleaned >${path}/it; exit 0' TERM; echo $$; while :; do sleep 0.02; done`
      )
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(readFileSync(join(path, "it"), "utf8"), "cleaned\n")
      assert.isFalse(isAlive(pid))
    }).pipe(Effect.scoped)
  )

  it.effect("gets SIGKILL 10 seconds later if it ignores SIGTERM", () =>
    Effect.gen(function* () {
      const { fiber, pid } = yield* begin("trap '' TERM; echo $$; while :; do sleep 0.02; done")
      const stopping = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust("9900 millis")
      yield* TestClock.withLive(Effect.sleep("50 millis"))
      assert.isTrue(isAlive(pid))
      yield* TestClock.adjust("100 millis")
      yield* TestClock.withLive(until(() => !isAlive(pid)))
      yield* TestClock.adjust("1 minute").pipe(
        Effect.andThen(TestClock.withLive(Effect.sleep("10 millis"))),
        Effect.repeat({ until: () => stopping.pollUnsafe() !== undefined })
      )
    }).pipe(Effect.scoped)
  )

  it.live("because of its timeout fails with that reason", () =>
    Effect.gen(function* () {
      const { detail, exitStatus, signalReason } = yield* runCommand("echo begun; sleep 600", { timeout: "300 millis" })
      assert.strictEqual(exitStatus, 143)
      assert.strictEqual(signalReason, "cancel")
      assert.strictEqual(detail, "Timed out after 300ms (exit status 143, as after SIGTERM)\n\nbegun")
    })
  )

  it.live("because of its timeout fails even if it exits with 0", () =>
    Effect.gen(function* () {
      const command = "trap 'exit 0' TERM; while :; do sleep 0.02; done"
      const { detail, exitStatus } = yield* runCommand(command, { timeout: "300 millis" })
      assert.strictEqual(exitStatus, 1)
      assert.isTrue(detail.startsWith("Timed out after 300ms (exit status 0)"), detail)
    })
  )
})

describe("What a command leaves running", () => {
  it.live("is stopped when the command ends, in its group or in another", () =>
    Effect.gen(function* () {
      const { exitStatus, lines } = yield* runCommand("sleep 600 & echo $!; setsid sleep 600 & echo $!")
      assert.strictEqual(exitStatus, 0)
      assert.strictEqual(lines.length, 2)
      for (const line of lines) assert.isFalse(isAlive(Number(line)))
    })
  )

  it.live("does not delay the job, even if it holds the output open", () =>
    Effect.gen(function* () {
      // Without its mark, and in a session of its own, nobody knows whose it is.
      const { exitStatus, lines } = yield* runCommand(
        "env -i setsid sh -c 'echo $$ >pid; exec sleep 600' & while [ ! -s pid ]; do sleep 0.01; done; cat pid"
      )
      assert.strictEqual(exitStatus, 0)
      process.kill(Number(lines[0]), "SIGKILL")
    })
  )
})

describe("A command runner that can't work", () => {
  const unusable = (options: CommandRunner.Options) => Effect.flip(Layer.build(CommandRunner.layer(options)))

  it.live("says which folder is missing", () =>
    Effect.gen(function* () {
      const { message, option } = yield* unusable({ workingDirectory: "/no/such/folder" })
      assert.strictEqual(option, "workingDirectory")
      assert.include(message, "Can't run commands in /no/such/folder")
    }).pipe(Effect.scoped)
  )

  it.live("says which folder can't be written", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFolder
      writeFileSync(join(path, "file"), "")
      chmodSync(join(path, "file"), 0o600)
      const { option } = yield* unusable({ logDirectory: join(path, "file", "logs") })
      assert.strictEqual(option, "logDirectory")
    }).pipe(Effect.scoped)
  )

  it.live("says which shell is missing", () =>
    Effect.gen(function* () {
      const { message, option } = yield* unusable({ shell: ["no-such-shell", "-c"] })
      assert.strictEqual(option, "shell")
      assert.include(message, "Can't run commands by no-such-shell: it is in no folder of PATH")
    }).pipe(Effect.scoped)
  )
})

describe("A stack that runs commands", () => {
  it.live("finishes each job with its command's outcome", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs(
        [
          { command: "echo $GREETING", env: { GREETING: "hello" } },
          { command: "exit 3" },
          { command: "echo $MY_PASSWORD; false", env: { MY_PASSWORD: "open sesame" } },
          { command: "" }
        ].map((job) => ({ queueKey: "q", ...job }))
      )
      yield* Stack.runUntilIdle({ key: "s", queueKey: "q" })
      const jobs = yield* emulator.jobs
      assert.deepStrictEqual(
        jobs.map(({ detail, exitStatus }) => [exitStatus, detail]),
        [
          [0, "The command ended with exit status 0\n\nhello"],
          [3, "The command ended with exit status 3"],
          [1, "The command ended with exit status 1\n\n[REDACTED]"],
          [-1, "The job has no command to run"]
        ]
      )
    }).pipe(
      Effect.provide(
        Layer.mergeAll(
          CommandRunner.layer(),
          StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer())),
          Logger.layer([])
        )
      )
    )
  )
})
