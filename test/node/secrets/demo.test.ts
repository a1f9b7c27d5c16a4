/** The demo as a process with a token in its environment: what it prints, and what others can see of it. */
import { resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Redacted } from "effect"
import { start } from "../../support/cli.ts"
import { processes } from "../../support/processes.ts"
import * as Secrets from "../../support/secrets.ts"

const main = resolve(import.meta.dirname, "../../../examples/demo/main.ts")

describe("The demo", () => {
  it.live("shows no token of its service or its jobs, also not in its command line", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs(
        Array.from({ length: 5 }, () => ({ queueKey: "_default", command: "make", env: Secrets.jobEnvironment }))
      )
      const demo = yield* start(process.execPath, [main, "--yes"], {
        ...Secrets.ownEnvironment,
        BUILDKITE_AGENT_ENDPOINT: emulator.baseUrl
      })
      yield* demo.seen("Registered")
      const commandLines = processes().map(({ commandLine }) => commandLine)
      const { status, stderr, stdout } = yield* demo.ended
      assert.strictEqual(status, 0, stdout + stderr)
      assert.include(stdout, "5 of 5 reserved jobs finished")
      Secrets.assertNone("what it prints", [stdout, stderr])
      Secrets.assertNone("command lines", commandLines)
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer({ token: Redacted.make(Secrets.clusterToken) })))
  )

  it.live("does not show the password of an endpoint", () =>
    Effect.gen(function* () {
      const demo = yield* start(process.execPath, [main, "--yes"], {
        ...Secrets.ownEnvironment,
        BUILDKITE_AGENT_ENDPOINT: "http://user:PLANTED_password@127.0.0.1:1/v3"
      })
      const { status, stderr, stdout } = yield* demo.ended
      assert.notStrictEqual(status, 0)
      Secrets.assertNone("what it prints", [stdout, stderr])
    }).pipe(Effect.scoped)
  )
})
