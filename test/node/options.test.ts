/** Every option that can have an impossible value is refused with it before anything starts, by its name and its range. */
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, type StacksError } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import * as AgentRunner from "@stacksapi/node/AgentRunner"
import * as ClusterStack from "@stacksapi/node/ClusterStack"
import * as CommandRunner from "@stacksapi/node/CommandRunner"
import * as FileJobStore from "@stacksapi/node/FileJobStore"
import * as HealthServer from "@stacksapi/node/HealthServer"
import * as NodeStacksEmulator from "@stacksapi/node/NodeStacksEmulator"
import * as RedisRateLimit from "@stacksapi/node/RedisRateLimit"
import * as StackView from "@stacksapi/node/StackView"
import { Duration, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

type Case = readonly [option: string, range: string, wrong: ReadonlyArray<unknown>]

/** A database that nobody has: to be asked for anything would be an error. */
const noDatabase = Layer.mock(SqlClient, {} as never)

const services = Layer.mergeAll(
  NodeServices.layer,
  StacksEmulator.layerTest(),
  JobRunner.layer(() => Effect.succeed(JobRunner.AgentOwned)),
  noDatabase
)

const refuses = (
  what: string,
  use: (options: Readonly<Record<string, unknown>>) => Effect.Effect<unknown, unknown, unknown>,
  cases: ReadonlyArray<Case>
) =>
  describe(what, () => {
    for (const [option, range, wrong] of cases) {
      it.effect(`refuses an impossible ${option}`, () =>
        Effect.gen(function* () {
          for (const value of wrong) {
            const program = use({ [option]: value }) as Effect.Effect<unknown, StacksError.InvalidOptions>
            const error = yield* Effect.flip(program)
            assert.strictEqual(error._tag, "InvalidOptions", String(error))
            assert.strictEqual(error.option, option)
            assert.include(error.message, `Option ${option}: must ${range}`)
          }
        }).pipe(Effect.scoped, Effect.provide(services))
      )
    }
  })

const durations = [Number.NaN, -1, "-1 seconds", "soon", { seconds: Number.NaN }, [Number.NaN, 0], Duration.seconds(-1)]
const numbers = [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY]
const texts = ["", " ", "a\0b"]

const grace: Case = [
  "cancelGracePeriod",
  "be a duration between 0 and 7d, not ",
  [...durations, "8 days", Duration.infinity]
]
const environment: Case = [
  "env",
  "have names without = and values without NUL",
  [{ "": "a" }, { "A=B": "a" }, { A: "a\0b" }, { A: Redacted.make("a\0b") }, { A: 1 }]
]
const output: ReadonlyArray<Case> = [
  ["logDirectory", "be the path of a folder", texts],
  ["redactedVars", "be names of variables", [["A", ""]]],
  ["secrets", "have at least 1 character each", [[Redacted.make("")]]]
]

refuses(
  "AgentRunner",
  (options) =>
    Layer.build(AgentRunner.layer({ buildPath: join(tmpdir(), "never-made"), agentPath: "none", ...options })),
  [
    ["buildPath", "be the path of a folder", texts],
    ["agentPath", "be a path or the name of a program", texts],
    ["endpoint", "be a URL such as https://", ["", "agent.buildkite.com", "ftp://u:hunter2@h/"]],
    ["name", "be a text or a function", texts],
    [
      "tags",
      'be texts like "key=value" or "key"; number 2 is neither',
      [
        ["a", "=b"],
        ["a=b", ""]
      ]
    ],
    grace,
    ["cancelSignal", 'be one of "SIG', ["", "TERM", "SIGNONE"]],
    ["configFile", "be the path of a file", texts],
    environment,
    ...output
  ]
)

refuses("CommandRunner", (options) => Layer.build(CommandRunner.layer(options)), [
  ["shell", "be a program and its arguments", [[""], [], ["/bin/sh", "a\0b"]]],
  ["workingDirectory", "be the path of a folder", texts],
  ["timeout", "be a duration of 1ms or longer, not ", [...durations, 0]],
  grace,
  environment,
  ...output
])

refuses("HealthServer", (options) => Layer.build(HealthServer.layer({ port: 0, ...options })), [
  ["host", "be an address to listen on", texts],
  ["port", "be a whole number between 0 and 65535, not ", [...numbers, 65_536]],
  ["maxPollAge", "be a duration of 1s or longer, not ", [...durations, 0, "999 millis"]]
])

refuses("NodeStacksEmulator", (options) => Layer.build(NodeStacksEmulator.layer(options)), [
  ["host", "be an address to listen on", texts],
  ["port", "be a whole number between 0 and 65535, not ", [...numbers, 65_536]],
  ["seed", "be a whole number between ", [Number.NaN, 0.5]],
  ["maxStacks", "be a whole number of 0 or more, not ", [Number.NaN, -1, 1.5]],
  ["token", "not be empty", ["", Redacted.make("")]]
])

refuses(
  "RedisRateLimit",
  (options) => Layer.build(RedisRateLimit.layer({ url: Redacted.make("redis://127.0.0.1:9"), ...options })),
  [["processes", "be a whole number of 1 or more, not ", [...numbers, 0]]]
)

refuses("StackView", (options) => StackView.make(options), [
  ["format", 'be one of "auto", "live", "lines", "json", not "xml"', ["xml"]]
])

refuses("FileJobStore", (options) => Layer.build(FileJobStore.layer({ path: "", ...options })), [
  ["path", "be the path of a file", texts]
])

refuses("ClusterStack", (options) => ClusterStack.make({ key: "k", queues: ["q"], ...options }), [
  ["queues", "name at least one queue", [[]]],
  ["queues", "have different stack keys; two have k--q", [["q", "q"]]],
  ["slots", "be a whole number of 1 or more, not ", [...numbers, 0]],
  ["name", "be a text that is not blank", texts],
  ["onProcessDeath", 'be one of "fail", "retry", not "forget"', ["forget"]],
  [
    "lockExpiration",
    "be a duration between 3s and 1h, not ",
    [...durations, "2 seconds", "2 hours", Duration.infinity]
  ],
  ["tablePrefix", "be at most 30 lower-case letters, digits and _", ["", "1a", "A", "a-b", "a".repeat(31)]],
  ["pollInterval", "be a duration of 1s or longer, not ", [...durations, "999 millis"]],
  ["stateInterval", "be a duration of 1s or longer, not ", [...durations, "999 millis"]],
  ["reservationExpiry", "be a duration between 1s and 1h, not ", [...durations, 0, "2 hours"]],
  ["shutdownGrace", "be a duration of 0 or longer, not ", durations]
])

describe("An invalid option", () => {
  it.effect("is reported without a password", () =>
    Effect.gen(function* () {
      const options = { buildPath: "/nowhere", endpoint: "ftp://u:hunter2@h/", env: { A: "hunter2\0" } }
      const error = yield* Effect.flip(Layer.build(AgentRunner.layer(options)))
      const other = yield* Effect.flip(Layer.build(CommandRunner.layer({ env: options.env })))
      assert.notInclude(`${error} ${JSON.stringify(error)} ${other} ${JSON.stringify(other)}`, "hunter2")
    }).pipe(Effect.scoped)
  )

  it.live("does not include extreme valid values", () =>
    Effect.gen(function* () {
      yield* Layer.build(
        CommandRunner.layer({ timeout: "1 millis", cancelGracePeriod: "7 days", env: {}, secrets: [] })
      )
      yield* Layer.build(CommandRunner.layer({ timeout: Duration.infinity, cancelGracePeriod: 0, shell: ["/bin/sh"] }))
      yield* Layer.build(HealthServer.layer({ port: 0, maxPollAge: Duration.infinity }))
      yield* Layer.build(NodeStacksEmulator.layer({ seed: -1, maxStacks: 0 }))
    }).pipe(Effect.scoped)
  )
})
