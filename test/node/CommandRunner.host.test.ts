/** Commands on a host that lacks something, and what is left on it: nothing, however the command and its stack end. */
import { spawn } from "node:child_process"
import { chmodSync, chownSync, copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import type { JobRunner } from "@stacksapi/core"
import type { CommandRunner } from "@stacksapi/node"
import { Effect, Fiber, Stream } from "effect"
import { commandRunner, jobWith, runCommand } from "../support/commands.ts"
import { processes, processesWith, until } from "../support/processes.ts"

const program = fileURLToPath(new URL("../support/commandProcess.ts", import.meta.url))

/** A user that is not root, and a folder for its temporary files. */
const nobody = 65_534

const folder = Effect.acquireRelease(
  Effect.sync(() => {
    const path = mkdtempSync(join(tmpdir(), "command-runner-host-"))
    if (process.getuid?.() === 0) chownSync(path, nobody, nobody)
    return path
  }),
  (path) =>
    Effect.sync(() => {
      chmodSync(path, 0o700)
      rmSync(path, { recursive: true, force: true })
    })
)

interface Printed {
  readonly outcome?: { readonly exitStatus: number }
  readonly failure?: string
  readonly isRetryable?: boolean
  readonly log?: string
}

/** Runs commands in a process that is not root's, and that may open so many files. */
const begin = (path: string, commands: ReadonlyArray<string>, maxFiles = 1024) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(
        "/bin/sh",
        [
          "-c",
          `ulimit -n ${maxFiles}; exec "$@"`,
          "sh",
          ...(process.getuid?.() === 0 ? ["setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"] : []),
          process.execPath,
          program,
          JSON.stringify(commands)
        ],
        { stdio: ["ignore", "pipe", "inherit"], env: { PATH: process.env["PATH"], TMPDIR: path, HOME: path } }
      )
      let output = ""
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text
      })
      const ended = Effect.callback<ReadonlyArray<Printed>>((resume) => {
        child.once("close", () =>
          resume(
            Effect.sync(() =>
              output
                .trimEnd()
                .split("\n")
                .map((line): Printed => JSON.parse(line))
            )
          )
        )
      })
      return { child, ended }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

const runAll = Effect.fnUntraced(function* (path: string, commands: ReadonlyArray<string>, maxFiles?: number) {
  const { ended } = yield* begin(path, commands, maxFiles)
  return yield* ended
})

const foldersIn = (path: string) => readdirSync(path).filter((name) => name.startsWith("stacksapi-"))

describe("A command that has succeeded", () => {
  it.live("and made its folder read-only stays successful, and the folder is removed", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const printed = yield* runAll(path, ["mkdir -p cache/a; echo x >cache/a/f; chmod -R a-w cache; chmod 0 cache/a"])
      assert.deepStrictEqual(
        printed.map(({ outcome }) => outcome?.exitStatus),
        [0]
      )
      assert.isEmpty(foldersIn(path))
    }).pipe(Effect.scoped)
  )

  it.live("stays successful if its folder can't be removed, which is logged", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const printed = yield* runAll(path, ['chmod a-w "$TMPDIR"'])
      assert.deepStrictEqual(
        printed.flatMap(({ outcome }) => outcome?.exitStatus ?? []),
        [0]
      )
      assert.lengthOf(
        printed.filter(({ log }) => log?.startsWith("Could not remove the folder of a job")),
        1
      )
    }).pipe(Effect.scoped)
  )
})

describe("A host without", () => {
  const failureOf = Effect.fnUntraced(function* (
    options: CommandRunner.Options,
    before: () => void,
    context: JobRunner.JobContext = jobWith("true")
  ) {
    const { run } = yield* commandRunner(options)
    before()
    return yield* Effect.flip(run(context))
  }, Effect.scoped)

  it.live("enough file descriptors fails starts with a retryable error", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const printed = yield* runAll(
        path,
        Array.from({ length: 60 }, () => "sleep 1"),
        64
      )
      const results = printed.filter(({ log }) => log === undefined)
      assert.lengthOf(results, 60)
      const failures = results.filter(({ failure }) => failure !== undefined)
      assert.isNotEmpty(failures)
      for (const { failure, isRetryable } of failures) {
        assert.isTrue(isRetryable, failure)
        assert.include(failure, "EMFILE")
      }
      for (const { outcome } of results.filter(({ failure }) => failure === undefined)) {
        assert.strictEqual(outcome?.exitStatus, 0)
      }
      yield* until(() => foldersIn(path).length === 0)
    }).pipe(Effect.scoped)
  )

  it.live("a folder for temporary files fails with a retryable error", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const { TMPDIR } = process.env
      process.env["TMPDIR"] = join(path, "gone")
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (TMPDIR === undefined) delete process.env["TMPDIR"]
          else process.env["TMPDIR"] = TMPDIR
        })
      )
      const { isRetryable, message } = yield* failureOf({}, () => {})
      assert.isTrue(isRetryable)
      assert.strictEqual(
        message,
        `Can't make a folder for the job in ${path}/gone: there is no such file or folder (ENOENT)`
      )
    }).pipe(Effect.scoped)
  )

  it.live("the shell at the moment fails with a retryable error", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const shell = join(path, "sh")
      copyFileSync("/bin/sh", shell)
      chmodSync(shell, 0o755)
      const { isRetryable, message } = yield* failureOf({ shell: [shell, "-c"] }, () => rmSync(shell))
      assert.isTrue(isRetryable)
      assert.strictEqual(message, `Can't start ${shell}: there is no such file`)
    }).pipe(Effect.scoped)
  )

  it.live("the working directory at the moment fails with a retryable error", () =>
    Effect.gen(function* () {
      const workingDirectory = mkdtempSync(join(yield* folder, "work-"))
      const { isRetryable, message } = yield* failureOf({ workingDirectory }, () =>
        rmSync(workingDirectory, { recursive: true })
      )
      assert.isTrue(isRetryable)
      assert.strictEqual(message, `Can't run commands in ${workingDirectory}: there is no such folder`)
    }).pipe(Effect.scoped)
  )

  it.live("room for a job's environment fails the job, with the reason", () =>
    Effect.gen(function* () {
      const { isRetryable, message } = yield* failureOf({}, () => {}, jobWith("true", { LONG: "x".repeat(3_000_000) }))
      assert.isUndefined(isRetryable)
      assert.match(message, /^Can't start \/\S+: the arguments and the environment are too long \(E2BIG\)$/)
    })
  )
})

describe("A command of some megabytes", () => {
  it.live("runs like any other", () =>
    Effect.gen(function* () {
      const { exitStatus, lines } = yield* runCommand(`: ${"x".repeat(5_000_000)}\necho done; exit 7`)
      assert.strictEqual(exitStatus, 7)
      assert.deepStrictEqual(lines, ["done"])
    })
  )

  it.live("is not in the list of processes or in their environments", () =>
    Effect.gen(function* () {
      const { lines, run } = yield* commandRunner()
      const seen = yield* lines.pipe(
        Stream.map(() => processes()),
        Stream.runHead,
        Effect.forkChild({ startImmediately: true })
      )
      const running = yield* Effect.forkChild(run(jobWith("word=hush-hush; echo begun; sleep 600")))
      const list = yield* Effect.flatMap(Fiber.join(seen), Effect.fromOption)
      yield* Fiber.interrupt(running)
      assert.isTrue(list.some(({ commandLine }) => commandLine.includes("stacksapi-job-")))
      for (const { commandLine, environment } of list) assert.notInclude(commandLine + environment, "hush-hush")
    }).pipe(Effect.scoped)
  )
})

describe("A stack that is killed", () => {
  it.live("leaves no folders of its jobs", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const { child } = yield* begin(path, ["touch here; chmod a-w .; sleep 600", "sleep 600"])
      yield* until(() => processesWith(path).filter(({ commandLine }) => commandLine === "sleep 600 ").length === 2)
      assert.lengthOf(foldersIn(path), 2)
      child.kill("SIGKILL")
      yield* until(() => processesWith(path).length === 0 && foldersIn(path).length === 0)
    }).pipe(Effect.scoped)
  )
})
