/** `stacksapi run`: what it is told by flags and by the environment, and several queues. `emulator.test.ts` has the rest. */
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, FileSystem } from "effect"
import { bin, environmentOf, stacksapi, start } from "../../support/cli.ts"

const nowhere = { BUILDKITE_CLUSTER_TOKEN: "bkct_none", BUILDKITE_AGENT_ENDPOINT: "http://127.0.0.1:9/" }

const call = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  stacksapi(["run", "--key", "k", "--runner", "command", ...args], { env: { ...nowhere, ...env } })

describe("stacksapi run", () => {
  it.live("runs the jobs of several queues, and prints events with their queue", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const queues = ["linux", "deploy"]
      yield* emulator.addJobs(queues.flatMap((queueKey) => [1, 2].map(() => ({ queueKey, command: "true" }))))
      const running = yield* start(process.execPath, [bin, "run"], {
        ...environmentOf(emulator),
        STACKSAPI_KEY: "many",
        STACKSAPI_QUEUE: "linux, deploy",
        STACKSAPI_RUNNER: "command",
        STACKSAPI_FORMAT: "json",
        STACKSAPI_HEALTH_PORT: "0"
      })
      const isOver = Effect.map(emulator.jobs, (jobs) => jobs.every(({ exitStatus }) => exitStatus === 0))
      yield* Effect.repeat(Effect.delay(isOver, "50 millis"), { until: (over) => over })
      const { stderr } = yield* running.seen("Health and metrics: ")
      const report = yield* Effect.promise(async () =>
        (await fetch(`${/http:[^\s"]+/.exec(stderr)?.[0]}/readyz`)).json()
      )
      assert.isNull(report.reason)
      assert.sameMembers(
        report.stacks.map(({ key }: { readonly key: string }) => key),
        ["many--linux", "many--deploy"]
      )
      yield* running.kill("SIGTERM")
      const { status, stdout } = yield* running.ended
      assert.strictEqual(status, 0)
      const events = stdout
        .trimEnd()
        .split("\n")
        .map((line): { readonly event: string; readonly queueKey?: string; readonly jobs?: number } => JSON.parse(line))
      assert.sameMembers(
        events.flatMap(({ event, queueKey }) => (event === "Finished" ? [queueKey] : [])),
        ["linux", "linux", "deploy", "deploy"]
      )
      assert.deepInclude(events.at(-1), { event: "Summary", jobs: 4 })
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer()))
  )

  it.live("exits with 2 for contradictory flags, before it does anything", () =>
    Effect.gen(function* () {
      for (const [args, env, message] of [
        [["--queue", "a", "--queue", "b", "--queue", "a"], {}, "--queue a is given twice"],
        [["--queue", "a", "--queue", "b", "--until-idle"], {}, "--until-idle is for one --queue"],
        [["--cluster", "--until-idle"], {}, "--until-idle is for one process"],
        [[], { STACKSAPI_CLUSTER: "1", STACKSAPI_UNTIL_IDLE: "1" }, "--until-idle is for one process"],
        [[], { STACKSAPI_QUEUE: " , " }, "STACKSAPI_QUEUE names no queue"],
        [[], { STACKSAPI_MAX_IN_FLIGHT: "0" }, "Expected a whole number from 1 to 10000"],
        [[], { STACKSAPI_MAX_IN_FLIGHT: "many" }, "A setting in the environment can't be used: "],
        [[], { STACKSAPI_FORMAT: "xml" }, '["STACKSAPI_FORMAT"]'],
        [["--cluster", "--lock-expiration", "2"], {}, "Expected a whole number of seconds from 3 to 3600"],
        [["--cluster", "--table-prefix", "my-stack"], {}, "Expected at most 30 lower-case letters"],
        [["--cluster", "--on-process-death", "forget"], {}, "retry"],
        [["--cluster", "--store", "jobs"], {}, "--store is for one process"],
        [["--cluster", "--on-exit", "drain"], {}, "--on-exit can't be used with --cluster"],
        [["--on-exit", "leave"], {}, "detach"],
        [[], { STACKSAPI_STORE: " " }, "--store must be the path of a file"]
      ] as const) {
        const { status, stderr, stdout } = yield* call(args, env)
        assert.deepStrictEqual([status, stdout], [2, ""], message)
        assert.include(stderr, message)
      }
    })
  )

  it.live("warns about flags that have no effect", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { status, stderr } = yield* stacksapi(
        [
          "run",
          "--key",
          "k",
          "--runner",
          "command",
          "--until-idle",
          "--timeout",
          "60",
          "--image",
          "agent",
          "--cpus",
          "2"
        ],
        { env: { ...environmentOf(emulator), STACKSAPI_LOCK_EXPIRATION: "10", STACKSAPI_BUILD_PATH: "/builds" } }
      )
      assert.strictEqual(status, 0, stderr)
      assert.deepStrictEqual(
        Array.from(stderr.matchAll(/--[\w-]+ has no effect: it is for .*/g), ([warning]) => warning),
        [
          "--image has no effect: it is for --runner docker",
          "--cpus has no effect: it is for --runner docker",
          "--lock-expiration has no effect: it is for --cluster"
        ]
      )
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.live("leaves its jobs to the next process with the same store, with --on-exit detach", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const folder = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
      const marker = join(folder, "marker")
      const command = `test -e '${marker}' && exit 0; touch '${marker}'; sleep 600`
      yield* emulator.addJobs([{ queueKey: "linux", command }])
      const launch = start(
        process.execPath,
        [bin, "run", "--store", join(folder, "jobs"), "--on-exit", "detach", "--format", "json"],
        { ...environmentOf(emulator), STACKSAPI_KEY: "k", STACKSAPI_QUEUE: "linux", STACKSAPI_RUNNER: "command" }
      )
      const first = yield* launch
      yield* Effect.repeat(
        Effect.delay(
          Effect.sync(() => existsSync(marker)),
          "50 millis"
        ),
        { until: (it) => it }
      )
      // The store is in use.
      const refused = yield* Effect.flatMap(launch, ({ ended }) => ended)
      assert.strictEqual(refused.status, 1)
      assert.include(refused.stderr, `is in use by process ${first.pid}`)
      yield* first.kill("SIGTERM")
      const { status, stderr } = yield* first.ended
      assert.strictEqual(status, 0)
      assert.include(stderr, "With --runner command, --on-exit detach stops the running jobs at once")
      const [left] = yield* emulator.jobs
      assert.strictEqual(left?.state, "reserved")

      const second = yield* launch
      const isOver = Effect.map(emulator.jobs, ([job]) => job?.state === "finished")
      yield* Effect.repeat(Effect.delay(isOver, "50 millis"), { until: (over) => over })
      assert.strictEqual((yield* emulator.jobs)[0]?.exitStatus, 0)
      yield* second.kill("SIGTERM")
      assert.strictEqual((yield* second.ended).status, 0)
    }).pipe(Effect.scoped, Effect.provide([NodeStacksEmulator.layer(), NodeFileSystem.layer]))
  )

  it.live("has no flag for a URL with a password", () =>
    Effect.gen(function* () {
      for (const flag of ["--database-url", "--redis-url"]) {
        const { status } = yield* call(["--cluster", flag, "postgres://u:hunter2@h/d"])
        assert.strictEqual(status, 2)
      }
    })
  )
})

describe("stacksapi run --cluster", () => {
  const failing = Effect.fnUntraced(function* (env: Record<string, string>, message: string) {
    const { status, stderr, stdout } = yield* call(["--cluster", "--log-level", "debug"], env)
    assert.strictEqual(stdout, "")
    assert.match(stderr, /^stacksapi: .*$/m)
    assert.include(stderr, message)
    assert.notInclude(stderr, "hunter2")
    return status
  })

  it.live("reports missing settings, and never shows their values", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
      writeFileSync(join(folder, "url"), "postgres://u:hunter2@127.0.0.1:9/d\n")
      const url = { DATABASE_URL_FILE: join(folder, "url") }
      assert.strictEqual(yield* failing({}, "No database is set. Set DATABASE_URL"), 1)
      assert.strictEqual(yield* failing({ DATABASE_URL: "hunter2" }, "has to look like postgres://"), 1)
      assert.strictEqual(yield* failing({ DATABASE_URL: "mysql://u:hunter2@h/d" }, "has to look like postgres://"), 1)
      assert.strictEqual(yield* failing({ DATABASE_URL_FILE: join(folder, "none") }, "Can't read DATABASE_URL_FILE"), 1)
      const swapped = { DATABASE_URL_FILE: "postgres://u:hunter2@h/d" }
      assert.strictEqual(yield* failing(swapped, "DATABASE_URL_FILE takes the name of a file"), 2)
      assert.strictEqual(yield* failing({ ...url, REDIS_URL: "hunter2" }, "The URL of Redis has to begin"), 1)
      assert.strictEqual(yield* failing(url, "ECONNREFUSED 127.0.0.1:9"), 1)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))
  )
})
