/** The configuration file of the command, beside flags and variables. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect } from "effect"
import { schema, schemaFile } from "../../docs/cliSchema.ts"
import { environmentOf, stacksapi } from "../../support/cli.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

/** Writes a configuration file. */
const written = Effect.fnUntraced(function* (text: string) {
  const file = join(yield* temporaryFolder, "stacksapi.yaml")
  writeFileSync(file, text)
  return file
})

const events = (stdout: string): ReadonlyArray<Record<string, unknown>> =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))

layer(NodeStacksEmulator.layer({ rateLimits: false }), { excludeTestServices: true })("a configuration file", (it) => {
  it.effect("has the settings of all flags by their names, below flags and variables", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { BUILDKITE_AGENT_ENDPOINT: endpoint, BUILDKITE_CLUSTER_TOKEN: token } = environmentOf(emulator)
      const path = yield* temporaryFolder
      writeFileSync(join(path, "token"), `${token}\n`)
      const file = yield* written(`
        # Everything that the stack needs.
        key: of-file
        queue: linux
        tag: { os: linux, version: 24 }
        max-in-flight: 2
        until-idle: true
        runner: command
        format: json
        endpoint: ${endpoint}
        proxy: false
        token-file: ${join(path, "token")}
      `)
      yield* emulator.addJobs([
        { queueKey: "linux", command: "true", agentQueryRules: ["os=linux", "version=24"] },
        { queueKey: "linux", command: "true", agentQueryRules: ["os=mac"] }
      ])
      const run = Effect.fnUntraced(function* (args: ReadonlyArray<string>, env: Record<string, string> = {}) {
        const { status, stderr, stdout } = yield* stacksapi(["run", ...args], { env })
        assert.deepStrictEqual([status, stderr], [0, ""])
        return events(stdout)
      })
      const first = yield* run(["--config", file])
      assert.deepInclude(first[0], { event: "Registered", stackKey: "of-file", queueKey: "linux" })
      assert.deepInclude(first.at(-1), { event: "Summary", jobs: 1 })
      const second = yield* run([], { STACKSAPI_CONFIG: file, STACKSAPI_KEY: "of-variable", STACKSAPI_QUEUE: "other" })
      assert.deepInclude(second[0], { stackKey: "of-variable", queueKey: "other" })
      const third = yield* run([`--config=${file}`, "--key", "of-flag"], { STACKSAPI_KEY: "of-variable" })
      assert.deepInclude(third[0], { stackKey: "of-flag" })

      // Other commands use it too.
      const listed = yield* stacksapi(["jobs", "list", "--config", file, "--key", "of-flag"])
      assert.strictEqual(listed.status, 1)
      assert.include(listed.stderr, "stacksapi register")
    }).pipe(Effect.scoped)
  )
})

layer(NodeStacksEmulator.layer({ rateLimits: false }), { excludeTestServices: true })(
  "a configuration file for several queues",
  (it) => {
    it.effect("names the stack of one of them to commands that are for one queue", () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const env = environmentOf(emulator)
        const file = yield* written("key: ops\nqueue: [linux, deploy]\n")
        const call = (...args: ReadonlyArray<string>) => stacksapi([...args, "--config", file], { env })
        for (const args of [["register"], ["jobs", "list"], ["jobs", "watch"], ["doctor"]]) {
          const { status, stderr } = yield* call(...args)
          assert.strictEqual(status, 2, stderr)
          assert.include(stderr, "The settings have several queues. Say which one with --queue: linux, deploy")
        }
        const unnamed = yield* call("jobs", "states", "0193b1a6-6a2c-4f4e-9d1a-000000000001")
        assert.strictEqual(unnamed.status, 2)
        assert.include(unnamed.stderr, "Say which stack with --key: ops--linux, ops--deploy")
        assert.isEmpty(yield* emulator.stacks)

        assert.strictEqual((yield* call("register", "--queue", "deploy")).status, 0)
        assert.deepStrictEqual(
          (yield* emulator.stacks).map(({ clusterQueueKey, key }) => [key, clusterQueueKey]),
          [["ops--deploy", "deploy"]]
        )
        const [job] = yield* emulator.addJobs([{ queueKey: "deploy" }])
        const listed = yield* call("jobs", "list", "-q", "deploy", "--json")
        assert.strictEqual(listed.status, 0, listed.stderr)
        assert.include(listed.stdout, job?.id ?? assert.fail())
        const named = yield* call("jobs", "states", "--key", "ops--deploy", job?.id ?? "")
        assert.strictEqual(named.status, 0, named.stderr)
        assert.strictEqual((yield* call("jobs", "list", "--help")).status, 0)
      }).pipe(Effect.scoped)
    )

    it.effect("with one queue in a list is for that queue", () =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        const file = yield* written("key: single\nqueue: [linux]\n")
        const { status, stderr } = yield* stacksapi(["register", "--config", file], { env: environmentOf(emulator) })
        assert.strictEqual(status, 0, stderr)
        assert.deepInclude(
          (yield* emulator.stacks).map(({ clusterQueueKey, key }) => `${key} ${clusterQueueKey}`),
          "single linux"
        )
      }).pipe(Effect.scoped)
    )
  }
)

describe("a configuration file that is wrong", () => {
  it.live("is rejected with 2, with the line and what to write", () =>
    Effect.gen(function* () {
      for (const [text, problem] of [
        ["key: k\nmax-in-flight: many", ":2:16: max-in-flight: Expected a whole number from 1 to 10000"],
        ["max-in-flight: 0", ":1:16: max-in-flight: Expected a whole number from 1 to 10000"],
        ["max-in-flight: 1.5", "Expected a whole number"],
        ["runner: podman", "runner: Expected agent"],
        ["until-idle: maybe", "until-idle: Expected true or false"],
        ["shutdown-grace: 10m", ":1:17: shutdown-grace: Expected a whole number of seconds from 0 to 86400"],
        ["\nkey: not one", ":2:6: key: Expected 1 to 80 letters, digits, _ and -"],
        [
          "endpoint: user:secret@localhost:4567",
          ":1:11: endpoint: Expected a URL such as https://agent.buildkite.com/v3/"
        ],
        ["tag: [a]", "tag: Expected names and their values, such as os: linux"],
        ["queue: []", "queue: Expected a text, or a list of texts"],
        ["key: ", "key: Expected a text"],
        ["\nmaxInFlight: 4", ":2:1: There is no setting maxInFlight: write max-in-flight"],
        ["fast: true", "There is no setting fast. The settings are key, queue, "],
        ["token: bkct_secret", "There is no setting token. The token is in a file of its own: set token-file to it"],
        ["key: a\nkey: b", ":2:1: Map keys must be unique"],
        ["- key", "Expected settings, such as max-in-flight: 8"],
        ["key: [", ":1:"]
      ] as const) {
        const file = yield* written(text)
        const { status, stderr, stdout } = yield* stacksapi(["run", "--config", file])
        assert.deepStrictEqual([status, stdout], [2, ""], text)
        assert.include(stderr, `stacksapi: ${file}:`)
        assert.include(stderr, problem)
        assert.notInclude(stderr, "secret")
      }
      const noToken = yield* stacksapi([
        "jobs",
        "list",
        "--config",
        yield* written("key: k\ntoken-file: /nowhere/token")
      ])
      assert.strictEqual(noToken.status, 1)
      assert.include(
        noToken.stderr,
        "Can't read the token file /nowhere/token (token-file or BUILDKITE_CLUSTER_TOKEN_FILE)"
      )
      const empty = yield* written("")
      const emptyToken = yield* stacksapi(["jobs", "list", "--config", yield* written(`key: k\ntoken-file: ${empty}`)])
      assert.strictEqual(emptyToken.status, 1)
      assert.include(emptyToken.stderr, `There is nothing in the token file ${empty} `)
      const missing = yield* stacksapi(["run", "--config", "/nowhere/stacksapi.yaml"])
      assert.strictEqual(missing.status, 1)
      assert.include(missing.stderr, "Can't read the configuration file /nowhere/stacksapi.yaml")
    }).pipe(Effect.scoped)
  )

  it.live("says that the variable of the endpoint takes precedence, without its password", () =>
    Effect.gen(function* () {
      const file = yield* written("key: k\nendpoint: https://agent.buildkite.com/v3/")
      const env = { BUILDKITE_AGENT_ENDPOINT: "http://user:secret@127.0.0.1:9/v3/", BUILDKITE_CLUSTER_TOKEN: "bkct_x" }
      const { stderr } = yield* stacksapi(["jobs", "list", "--config", file], { env })
      assert.include(
        stderr,
        `The variable BUILDKITE_AGENT_ENDPOINT (127.0.0.1:9) takes precedence over the endpoint in ${file}`
      )
      assert.notInclude(stderr, "secret")
    }).pipe(Effect.scoped)
  )

  it("is known to editors by a JSON Schema, which `pnpm docs:tables` writes from the flags", () => {
    assert.deepStrictEqual(JSON.parse(readFileSync(schemaFile, "utf8")), schema)
    const { properties } = schema
    assert.deepInclude(properties["max-in-flight"], { type: "integer", minimum: 1, maximum: 10_000 })
    assert.include(properties["max-in-flight"]?.description, "Default: 25")
    assert.deepInclude(properties["on-exit"], { type: "string", enum: ["drain", "detach"] })
    assert.notProperty(properties, "token")
    assert.notProperty(properties, "config")
  })
})
