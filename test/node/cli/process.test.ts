/** The command as a process: exit statuses, pipes, signals, colors, and what other processes see of it. */
import { readFileSync } from "node:fs"
import { assert, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import { bin, environmentOf, quoted, run, start } from "../../support/cli.ts"

const emulated = Effect.fnUntraced(function* (name: string, count: number) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const env = { ...environmentOf(emulator), STACKSAPI_KEY: name, STACKSAPI_QUEUE: name }
  yield* emulator.addJobs(Array.from({ length: count }, (_, index) => ({ queueKey: name, id: `${name}-${index}` })))
  yield* run(["register"], env)
  return { emulator, env }
})

const escape = "\u001b"

layer(NodeStacksEmulator.layer({ rateLimits: false }), { excludeTestServices: true })("the process stacksapi", (it) => {
  it.effect("ends with 0, 1 or 2, and keeps results apart from all else", () =>
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

  it.effect("has no colors in a pipe, unless they are forced, and not where they are not wanted", () =>
    Effect.gen(function* () {
      const { env } = yield* emulated("colors", 1)
      assert.notInclude((yield* run(["jobs", "list"], env)).stdout, escape)
      assert.include((yield* run(["jobs", "list"], { ...env, FORCE_COLOR: "1" })).stdout, escape)
      assert.notInclude((yield* run(["jobs", "list"], { ...env, FORCE_COLOR: "1", NO_COLOR: "1" })).stdout, escape)
    })
  )

  it.effect("ends quietly when its reader has read enough", () =>
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

  it.effect("watches jobs as they come, and ends with 130 or 143 when it is told to", () =>
    Effect.gen(function* () {
      const { emulator, env } = yield* emulated("watch", 1)
      for (const [signal, expected] of [
        ["SIGINT", 130],
        ["SIGTERM", 143]
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

  it.effect("shows its token to no other process but by its own environment", () =>
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
