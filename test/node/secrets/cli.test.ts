/** What the command `stacksapi` prints with a token in its environment or a file, at every log level, as tables and as JSON. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Redacted } from "effect"
import { environmentOf, stacksapi } from "../../support/cli.ts"
import * as RawServer from "../../support/rawServer.ts"
import * as Secrets from "../../support/secrets.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

/** A stack with a job that is reserved. */
const setUp = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const [job] = yield* emulator.addJobs([{ queueKey: "q", command: "make", env: Secrets.jobEnvironment }])
  const env = { ...environmentOf(emulator), STACKSAPI_KEY: "s", STACKSAPI_QUEUE: "q" }
  yield* stacksapi(["register"], { env })
  yield* stacksapi(["jobs", "reserve", job?.id ?? ""], { env })
  return { env, emulator, id: job?.id ?? "" }
})

const commands = (id: string): ReadonlyArray<ReadonlyArray<string>> => [
  ["register"],
  ["jobs", "list"],
  ["jobs", "get", id],
  ["jobs", "states", id],
  ["jobs", "reserve", id],
  ["jobs", "tokens", id],
  ["jobs", "notify", id, "text"],
  ["jobs", "finish", id, "--exit-status", "0", "--detail", "done"],
  ["jobs", "get", "unknown"],
  ["jobs", "fail", id, "--detail", "no"],
  ["deregister"],
  ["jobs", "states", id]
]

layer(NodeStacksEmulator.layer({ token: Redacted.make(Secrets.clusterToken), rateLimits: false }), {
  excludeTestServices: true
})("stacksapi", (it) => {
  it.effect.each([
    ["a table", []],
    ["JSON", ["--json"]]
  ] as const)("shows no token, with whatever it does, as %s", ([, flags]) =>
    Effect.gen(function* () {
      const { env, id } = yield* setUp
      for (const command of commands(id)) {
        for (const level of ["info", "all"]) {
          const { stderr, stdout } = yield* stacksapi([...command, ...flags, "--log-level", level], { env })
          Secrets.assertNone(command.join(" "), [stdout, stderr])
          if (level === "all") assert.include(stderr, "sending request")
        }
      }
    })
  )

  it.effect("shows tokens and environments of jobs with --show", () =>
    Effect.gen(function* () {
      const { env, id } = yield* setUp
      assert.match((yield* stacksapi(["jobs", "tokens", id, "--show"], { env })).stdout, /bkjat_/)
      assert.match((yield* stacksapi(["jobs", "get", id, "--show"], { env })).stdout, /PLANTED_job_database/)
    })
  )

  it.effect.each(["lines", "json"])("shows none while it runs jobs that print all that they have: %s", (format) =>
    Effect.gen(function* () {
      const { emulator, env } = yield* setUp
      const logs = yield* temporaryFolder
      yield* emulator.addJobs([
        { queueKey: "q", command: "env", env: Secrets.jobEnvironment },
        { queueKey: "q", command: "env | sort; exit 4", env: Secrets.jobEnvironment }
      ])
      const args = ["run", "--runner", "command", "--until-idle", "--format", format, "--log-level", "all"]
      const { stderr, stdout } = yield* stacksapi([...args, "--log-directory", logs], { env })
      const files = readdirSync(logs).map((file) => readFileSync(join(logs, file), "utf8"))
      assert.lengthOf(files, 2)
      for (const file of files) assert.include(file, "DB_PASSWORD=[REDACTED]")
      Secrets.assertNone("what it prints, and its files", [stdout, stderr, ...files])
    }).pipe(Effect.scoped)
  )

  it.effect("shows no refused or invalid token", () =>
    Effect.gen(function* () {
      const { env } = yield* setUp
      const path = yield* temporaryFolder
      const file = join(path, "token")
      for (const token of [
        "bkct_PLANTED_of_another_cluster",
        "bkua_PLANTED_of_a_person_00000",
        "bkct_PLANTED with blanks",
        "bkct_PLANTED\nin_two_lines",
        "bkct_PLANTED\u0000\u001b"
      ]) {
        writeFileSync(file, `${token}\n`)
        for (const flags of [[], ["--json"]]) {
          const args = ["jobs", "list", ...flags, "--log-level", "all"]
          const { BUILDKITE_CLUSTER_TOKEN: _, ...rest }: Record<string, string> = env
          for (const ended of [
            yield* stacksapi(args, { env: { ...env, BUILDKITE_CLUSTER_TOKEN: token } }),
            yield* stacksapi([...args, "--token-file", file], { env: rest }),
            yield* stacksapi([...args, "--token-file", "-"], { env: rest, stdin: token })
          ]) {
            assert.notStrictEqual(ended.status, 0)
            Secrets.assertNone(JSON.stringify(token), [ended.stdout, ended.stderr])
          }
        }
      }
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["a flag for tokens", ["--token", "bkct_PLANTED_flag"]],
    ["a flag for tokens, in one word", ["--token=bkct_PLANTED_flag"]],
    ["a flag with a slip", ["--tokn", "bkct_PLANTED_flag"]],
    ["an argument too many", ["bkct_PLANTED_argument"]],
    ["the file of the token", ["--token-file", "bkct_PLANTED_file"]],
    ["an endpoint with a password", ["--endpoint", "http://user:PLANTED_password@127.0.0.1:1/v3"]],
    ["an endpoint that is none, with a password", ["--endpoint", "http://user:PLANTED_password@[oops/v3"]]
  ] as const)("does not repeat what is in the wrong place: %s", ([, flags]) =>
    Effect.gen(function* () {
      const { env } = yield* setUp
      for (const more of [[], ["--json"], ["--log-level", "all"]]) {
        const { status, stderr, stdout } = yield* stacksapi(["jobs", "list", ...flags, ...more], { env })
        assert.strictEqual(status, 2)
        Secrets.assertNone(flags.join(" "), [stdout, stderr])
      }
    })
  )

  it.effect.each([
    "http://user:PLANTED_password@127.0.0.1:1/v3",
    "user:PLANTED_password@127.0.0.1",
    "http://user:PLANTED_password@[oops/v3",
    "PLANTED password"
  ])("does not repeat an endpoint of the environment that can't be used: %s", (endpoint) =>
    Effect.gen(function* () {
      const { env } = yield* setUp
      for (const command of [
        ["jobs", "list"],
        ["run", "--build-path", "builds", "--agent-path", "/bin/true"]
      ]) {
        const { status, stderr, stdout } = yield* stacksapi([...command, "--log-level", "all"], {
          env: { ...env, BUILDKITE_AGENT_ENDPOINT: endpoint }
        })
        assert.notStrictEqual(status, 0)
        Secrets.assertNone(endpoint, [stdout, stderr])
      }
    })
  )
})

describe("stacksapi run --cluster with invalid settings", () => {
  it.live.each([
    ["a database that does not answer", { DATABASE_URL: "postgres://user:PLANTED_database@127.0.0.1:1/name" }],
    ["a database that is none", { DATABASE_URL: "PLANTED_database" }],
    ["a URL where a file should be", { DATABASE_URL_FILE: "postgres://user:PLANTED_database@127.0.0.1:1/name" }],
    ["a Redis that is none", { ...Secrets.ownEnvironment, REDIS_URL: "http://:PLANTED_redis@127.0.0.1:1" }]
  ] as const)("shows nothing of what logs in: %s", ([, env]) =>
    Effect.gen(function* () {
      const args = ["run", "--cluster", "--runner", "command", "--log-level", "all"]
      const ended = yield* stacksapi(args, {
        env: { BUILDKITE_CLUSTER_TOKEN: Secrets.clusterToken, STACKSAPI_KEY: "s", ...env }
      })
      assert.notStrictEqual(ended.status, 0)
      assert.match(ended.stderr, /DATABASE_URL|Redis/)
      Secrets.assertNone(JSON.stringify(Object.keys(env)), [ended.stdout, ended.stderr])
    })
  )
})

describe("stacksapi with a service that echoes requests", () => {
  it.live("shows no token", () =>
    Effect.gen(function* () {
      const server = yield* RawServer.make((socket, request, index) => {
        const echo = JSON.stringify({ message: JSON.stringify(request), id: request.headers, env: {}, command: "" })
        const status = [200, 401, 404, 422, 302][index % 5]
        socket.write(
          RawServer.response({
            ...(status !== undefined && { status }),
            headers: { "x-echo": RawServer.header(request, "authorization") },
            body: echo
          })
        )
      })
      for (let index = 0; index < 5; index++) {
        const { stderr, stdout } = yield* stacksapi(["jobs", "get", "a", "--log-level", "all"], {
          env: {
            BUILDKITE_AGENT_ENDPOINT: server.baseUrl,
            BUILDKITE_CLUSTER_TOKEN: Secrets.clusterToken,
            STACKSAPI_KEY: "s"
          }
        })
        assert.include(stderr, "failed")
        Secrets.assertNone("an echo", [stdout, stderr])
      }
    }).pipe(Effect.scoped)
  )
})
