import { execFile, spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Fiber } from "effect"
import { root, type Snippet, writeSnippets } from "./snippets.ts"

const snippets = writeSnippets("snippets")

const directory = dirname(snippets[0]?.path ?? "")

/** Runs a command to its end, however that is. */
const run = (command: string, args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = process.env) =>
  promisify(execFile)(command, args, { cwd: directory, env }).catch(
    (error: { readonly stdout: string; readonly stderr: string }) => error
  )

describe("the code in the documentation", () => {
  it("has the right types", async () => {
    const tsconfig = join(directory, "tsconfig.json")
    writeFileSync(
      tsconfig,
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: { noUnusedLocals: false },
        include: [],
        files: snippets.map(({ path }) => path)
      })
    )
    const { stderr, stdout } = await run(join(root, "node_modules/.bin/tsc"), ["--project", tsconfig])
    const file = (snippet: Snippet) => snippet.path.slice(directory.length + 1)
    assert.strictEqual(
      snippets.reduce((text, snippet) => text.replaceAll(file(snippet), snippet.name), stdout + stderr),
      ""
    )
  })

  it.live("starts with a program that runs as it stands", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([
        { queueKey: "_default", id: "job-1", pipeline: { slug: "my-app" }, build: { number: 7 } }
      ])
      const first = snippets.find(({ name }) => name.startsWith("README.md"))
      const { stderr, stdout } = yield* Effect.promise(() =>
        run(process.execPath, [first?.path ?? ""], {
          ...process.env,
          BUILDKITE_AGENT_ENDPOINT: emulator.baseUrl,
          BUILDKITE_CLUSTER_TOKEN: "bkct_emulator"
        })
      )
      assert.deepStrictEqual([stdout, stderr], ["1 jobs are waiting in _default\njob-1 of my-app #7\n", ""])
      assert.deepStrictEqual(
        (yield* emulator.requests).map(({ operation }) => operation),
        ["registerStack", "listScheduledJobs", "deregisterStack"]
      )
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )

  it.live("has a whole stack on the home page, which drains on SIGTERM", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      yield* emulator.addJobs([{ queueKey: "_default", command: "make test" }])
      const whole = snippets.find(({ name }) => name.startsWith("docs/index.md"))
      const child = spawn(process.execPath, [whole?.path ?? ""], {
        env: { ...process.env, BUILDKITE_AGENT_ENDPOINT: emulator.baseUrl, BUILDKITE_CLUSTER_TOKEN: "bkct_emulator" },
        stdio: "ignore"
      })
      const ended = yield* Effect.forkChild(
        Effect.callback<number | null>((resume) => void child.once("close", (code) => resume(Effect.succeed(code))))
      )
      const isFinished = Effect.map(emulator.jobs, ([job]) => job?.state === "finished")
      const finished = Effect.repeat(Effect.delay(isFinished, "50 millis"), { until: (it) => it })
      yield* Effect.raceFirst(finished, Fiber.join(ended))
      child.kill("SIGTERM")
      assert.strictEqual(yield* Fiber.join(ended), 130)
      assert.isEmpty(yield* emulator.stacks)
    }).pipe(Effect.provide(NodeStacksEmulator.layer()))
  )
})

describe("the tests in the documentation", async () => {
  for (const { code, path } of snippets) {
    if (/\bit\.effect\(/.test(code)) await import(path)
  }
})
