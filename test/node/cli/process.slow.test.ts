/** The command as a process: exit statuses, pipes, signals, colors, and what other processes see of it. */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import { bin, environmentOf, quoted, run, start } from "../../support/cli.ts"
import { until } from "../../support/processes.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const emulated = Effect.fnUntraced(function* (name: string, count: number) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const env: Record<string, string> = { ...environmentOf(emulator), STACKSAPI_KEY: name, STACKSAPI_QUEUE: name }
  yield* emulator.addJobs(Array.from({ length: count }, (_, index) => ({ queueKey: name, id: `${name}-${index}` })))
  yield* run(["register"], env)
  return { emulator, env }
})

const makePipe = (path: string) => execFileSync("/bin/sh", ["-c", 'mkfifo "$1"', "sh", path])

const escape = "\u001b"

layer(NodeStacksEmulator.layer({ rateLimits: false }), { excludeTestServices: true })("The process stacksapi", (it) => {
  it.effect("exits with 0, 1 or 2, and prints only results to the standard output", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("status", 2)
      const good = yield* run(["jobs", "list", "--json"], env)
      assert.deepStrictEqual([good.status, good.stderr], [0, ""])
      assert.lengthOf(
        good.stdout
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line)),
        2
      )
      const failed = yield* run(["jobs", "get", "nothing"], env)
      assert.deepStrictEqual([failed.status, failed.stdout], [1, ""])
      const misused = yield* run(["jobs", "list", "--nope"], env)
      assert.deepStrictEqual([misused.status, misused.stdout], [2, ""])
      assert.strictEqual((yield* run(["--help"])).status, 0)
    })
  )

  it.effect("has no colors in a pipe unless FORCE_COLOR is set, and none with NO_COLOR", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("colors", 1)
      assert.notInclude((yield* run(["jobs", "list"], env)).stdout, escape)
      assert.include((yield* run(["jobs", "list"], { ...env, FORCE_COLOR: "1" })).stdout, escape)
      assert.notInclude((yield* run(["jobs", "list"], { ...env, FORCE_COLOR: "1", NO_COLOR: "1" })).stdout, escape)
    })
  )

  it.effect("exits with 0 when the reader of its pipe ends", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("head", 2000)
      for (const command of ["jobs watch", "jobs watch --json", "jobs list --all --json"]) {
        const { ended } = yield* start(
          "bash",
          ["-c", `${quoted} ${command} | head -n 3; echo "\${PIPESTATUS[@]}"`],
          env
        )
        const { status, stderr, stdout } = yield* ended
        assert.strictEqual(status, 0)
        assert.strictEqual(stderr, "")
        const lines = stdout.trimEnd().split("\n")
        assert.lengthOf(lines, 4)
        assert.strictEqual(lines[3], "0 0")
      }
    }).pipe(Effect.scoped)
  )

  it.effect("exits with 1 if the disk of its output is full", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("full", 20)
      for (const command of ["jobs list", "jobs list --json", "jobs watch", "--help", "--version"]) {
        const { ended } = yield* start("sh", ["-c", `exec ${quoted} ${command} >/dev/full`], env)
        const { status, stderr } = yield* ended
        assert.strictEqual(status, 1, command)
        const message = "Can't write to the standard output: no space is left on the device (ENOSPC)"
        if (command.endsWith("--json"))
          assert.deepInclude(JSON.parse(stderr), { level: "error", exitStatus: 1, message })
        else assert.strictEqual(stderr, `stacksapi: ${message}\n`)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("exits with 1 if only a part of its output could be written", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("part", 20)
      const file = join(yield* temporaryFolder, "out")
      // The shell counts in units of 512 or 1024 bytes. The whole list is some 4 KB.
      const { ended } = yield* start("sh", ["-c", `ulimit -f 1; exec ${quoted} jobs list --json >"${file}"`], env)
      const { status, stderr } = yield* ended
      assert.strictEqual(status, 1)
      assert.include(JSON.parse(stderr).message, "Can't write to the standard output: the file is too large (EFBIG)")
      assert.isAtMost(statSync(file).size, 1024)
    }).pipe(Effect.scoped)
  )

  it.effect("continues if only the disk of its log is full", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("log", 1)
      const { ended } = yield* start("sh", ["-c", `exec ${quoted} jobs list --log-level all 2>/dev/full`], env)
      const { status, stdout } = yield* ended
      assert.strictEqual(status, 0)
      assert.include(stdout, "log-0")
    }).pipe(Effect.scoped)
  )

  it.effect("rejects a token file that never ends or never starts", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("token-file", 1)
      const { BUILDKITE_CLUSTER_TOKEN: _token, ...others } = env
      const path = yield* temporaryFolder
      const pipe = join(path, "pipe")
      makePipe(pipe)
      const cases = [
        ["jobs list --token-file /dev/zero", "Can't read --token-file /dev/zero: it holds more than 64 KiB"],
        ["jobs list --token-file - </dev/zero", "Can't read the standard input: it holds more than 64 KiB"],
        [`jobs list --token-file ${pipe}`, `Can't read --token-file ${pipe}: it has no end within 10s`],
        [`jobs list --token-file - <>${pipe}`, "Can't read the standard input: it has no end within 10s"],
        ["emulator --jobs /dev/zero", "Can't read /dev/zero: it holds more than 64 MiB"]
      ] as const
      for (const [command, message] of cases) {
        const { ended } = yield* start("sh", ["-c", `exec ${quoted} ${command}`], others)
        const { status, stderr } = yield* ended
        assert.strictEqual(status, 1, command)
        assert.strictEqual(stderr, `stacksapi: ${message}\n`)
      }
      const file = { ...others, BUILDKITE_CLUSTER_TOKEN_FILE: "/dev/zero" }
      const { stderr } = yield* run(["jobs", "list"], file)
      assert.strictEqual(
        stderr,
        "stacksapi: Can't read the token file /dev/zero (token-file or BUILDKITE_CLUSTER_TOKEN_FILE): it holds more than 64 KiB\n"
      )
    }).pipe(Effect.scoped)
  )

  it.effect("waits for the token from a pipe whose writer starts later", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("token-pipe", 1)
      const { BUILDKITE_CLUSTER_TOKEN: token, ...others } = env
      const pipe = join(yield* temporaryFolder, "pipe")
      makePipe(pipe)
      const { ended } = yield* start(
        "sh",
        ["-c", `(sleep 1; echo "$TOKEN" >"${pipe}") & exec ${quoted} jobs list --token-file "${pipe}"`],
        { ...others, TOKEN: token ?? "" }
      )
      const { stdout } = yield* ended
      assert.include(stdout, "token-pipe-0")
    }).pipe(Effect.scoped)
  )

  it.effect("rejects ids without a line end", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("ids", 1)
      const { ended } = yield* start("sh", ["-c", `exec ${quoted} jobs states - </dev/zero`], env)
      const { status, stderr } = yield* ended
      assert.strictEqual(status, 1)
      assert.match(stderr, /^stacksapi: A line of the standard input has more than 65536 characters/)
    }).pipe(Effect.scoped)
  )

  it.effect("drains a stack on SIGHUP and SIGQUIT as on SIGTERM, also if SIGHUP arrives twice", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      for (const signal of ["SIGHUP", "SIGQUIT", "SIGTERM"] as const) {
        const name = `stack-${signal}`
        const env = { ...environmentOf(emulator), STACKSAPI_KEY: name, STACKSAPI_QUEUE: name }
        const [job] = yield* emulator.addJobs([{ queueKey: name, command: "echo begun; sleep 2; echo done" }])
        const path = yield* temporaryFolder
        const stack = yield* start(
          process.execPath,
          [bin, "run", "--runner", "command", "--format", "lines", "--log-directory", path],
          { ...env, TMPDIR: path }
        )
        yield* until(
          () => existsSync(join(path, `${job?.id}.log`)) && readFileSync(join(path, `${job?.id}.log`), "utf8") !== ""
        )
        yield* stack.kill(signal)
        if (signal === "SIGHUP") yield* stack.kill(signal)
        const { status } = yield* stack.ended
        assert.strictEqual(status, 0, signal)
        const ended = (yield* emulator.jobs).find(({ id }) => id === job?.id)
        assert.deepStrictEqual([ended?.state, ended?.exitStatus], ["finished", 0])
        assert.isEmpty(readdirSync(path).filter((name) => name.startsWith("stacksapi-")))
      }
    }).pipe(Effect.scoped)
  )

  it.effect("prints jobs as they arrive, and exits with 128 and the signal's number", () =>
    Effect.gen(function* () {
      const { emulator, env } = yield* emulated("watch", 1)
      for (const [signal, expected] of [
        ["SIGINT", 130],
        ["SIGTERM", 143],
        ["SIGHUP", 129],
        ["SIGQUIT", 131]
      ] as const) {
        const watching = yield* start(process.execPath, [bin, "jobs", "watch", "--json"], env)
        yield* watching.seen('"watch-0"')
        yield* emulator.addJobs([{ queueKey: "watch", id: `watch-${signal}` }])
        yield* watching.seen(`"watch-${signal}"`)
        yield* watching.kill(signal)
        const { status, stderr, stdout } = yield* watching.ended
        assert.strictEqual(status, expected)
        assert.strictEqual(stderr, "")
        const ids = stdout
          .trimEnd()
          .split("\n")
          .map((line): string => JSON.parse(line).id)
        assert.strictEqual(new Set(ids).size, ids.length)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("shows its token to other processes only in its environment", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("token", 1)
      const watching = yield* start(process.execPath, [bin, "jobs", "watch", "--log-level", "all"], env)
      yield* watching.seen("token-0")
      assert.notInclude(readFileSync(`/proc/${watching.pid}/cmdline`, "utf8"), "bkct_")
      yield* watching.kill("SIGTERM")
      const { stderr, stdout } = yield* watching.ended
      assert.include(stderr, "DEBUG")
      assert.notInclude(stdout + stderr, "bkct_")
    }).pipe(Effect.scoped)
  )
})
