/** The steps of the guide: each runs by itself, says what the guide says, and ends. */
import { spawn } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { StacksEmulator } from "@stacksapi/core/testing"
import { NodeStacksEmulator } from "@stacksapi/node"
import { Effect, Fiber } from "effect"
import { standInOnPath } from "../support/standInAgentSetup.ts"

const root = join(import.meta.dirname, "../..")
const steps = join(root, "examples/guide")

/** The lines that each step has to print, in whatever order. */
const expected: Record<string, ReadonlyArray<string | RegExp>> = {
  "01-emulator.ts": ["my-app #7 waits with: make lint", "my-app #7 waits with: make test"],
  "02-first-runner.ts": ["test: make test", "test finished with 0", "lint finished with 1", "release finished with -1"],
  "03-slots-and-tags.ts": ["at most 2 at once", "first is finished", "urgent is finished", "windows-only is scheduled"],
  "04-agents.ts": [/^No agent can run here: Can't run the agent /],
  "05-cancel-and-shutdown.ts": [
    "canceled: machine down",
    "short: machine down",
    "broken: machine down",
    "long: stop requested, Detach",
    "long: machine stays",
    "long: machine down",
    "canceled canceled 0",
    "short finished 0",
    "broken finished -1 stack_error",
    "long finished 0"
  ],
  "06-when-things-fail.ts": [
    "trouble: listScheduledJobs",
    "trouble: finishJob",
    "finished with 0, asked 1 time(s)",
    /401 .*start the stack with a valid cluster token/
  ],
  "07-tests.ts": ["passed"],
  "08-observability.ts": [
    /^\{"message":"running",.*"annotations":\{"job":"job","pipeline":"my-app"\}/,
    /^\{"status":"ok","reason":null,"stacks":\[\{"key":"guide",/,
    "stacksapi_jobs_started_total 1"
  ],
  "09-production.ts --try-out": [/^\{"message":"Stopped"/, "finished 1 job, 0 stacks are left"]
}

interface Run {
  readonly code: number | null
  readonly lines: ReadonlyArray<string>
  readonly stderr: string
}

/** Runs a step with these settings, until it ends; the signal's abort is SIGTERM. */
const run = (command: string, settings: Record<string, string> = {}, stop = new AbortController().signal) =>
  new Promise<Run>((resolve, reject) => {
    const { BUILDKITE_CLUSTER_TOKEN: _, ...env } = process.env
    const [file = "", ...args] = command.split(" ")
    const child = spawn(process.execPath, [join(steps, file), ...args], {
      env: { ...env, AGENT_PATH: "/nowhere/buildkite-agent", ...settings },
      stdio: ["ignore", "pipe", "pipe"]
    })
    stop.addEventListener("abort", () => child.kill("SIGTERM"))
    const output = { stdout: "", stderr: "" }
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output.stdout += text
    })
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output.stderr += text
    })
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, lines: output.stdout.trimEnd().split("\n"), stderr: output.stderr }))
  })

describe("The guide", () => {
  const guide = readFileSync(join(root, "docs/guide.md"), "utf8")

  it("has a section for every step, and every step is checked here", () => {
    const files = readdirSync(steps).filter((file) => file.endsWith(".ts"))
    assert.deepStrictEqual(
      files.sort(),
      Object.keys(expected).map((command) => command.split(" ")[0])
    )
    for (const file of files) {
      assert.match(
        guide,
        new RegExp(`^## ${Number.parseInt(file, 10)}\\. .*\n\n\\[${file}\\]\\(\\.\\./examples/guide/${file}\\) `, "m")
      )
    }
  })

  it.concurrent.for(Object.keys(expected))("%s runs on plain Node and ends", async (file) => {
    const { code, lines, stderr } = await run(file)
    assert.strictEqual(stderr, "")
    assert.strictEqual(code, 0)
    for (const line of expected[file] ?? []) {
      const isThere = lines.some((it) => (line instanceof RegExp ? line.test(it) : it === line))
      assert.isTrue(isThere, `${line} in:\n${lines.join("\n")}`)
    }
  })

  it.concurrent("09-production.ts fails in one sentence without the token, and tries nothing out", async () => {
    const { code, lines, stderr } = await run("09-production.ts", { STACK_BUILD_PATH: "/nowhere", HEALTH_PORT: "0" })
    const output = [...lines, ...stderr.split("\n")].filter((line) => line !== "")
    assert.strictEqual(code, 1)
    assert.lengthOf(output, 1)
    assert.match(output[0] ?? "", /BUILDKITE_CLUSTER_TOKEN is not set: use a cluster token/)
  })

  it.live("04-agents.ts runs each job by an agent", () =>
    Effect.gen(function* () {
      const { path } = yield* standInOnPath({ hello: { prints: ["hello"] }, fails: { jobExits: 3 } })
      const { code, lines, stderr } = yield* Effect.promise(() => run("04-agents.ts", { AGENT_PATH: path }))
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.includeMembers([...lines], ["hello: hello", "hello finished with 0", "fails finished with 3"])
    }).pipe(Effect.scoped)
  )

  it.live("09-production.ts runs agents, and lets them end on SIGTERM", () =>
    Effect.gen(function* () {
      const emulator = yield* StacksEmulator.StacksEmulator
      const { folder } = yield* standInOnPath({ job: { millis: 2000 } })
      yield* emulator.addJobs([{ id: "job", queueKey: "_default" }])
      // On a busy machine it may have ended before anybody looks.
      const isTaken = Effect.map(emulator.jobs, ([job]) => job?.state === "running" || job?.state === "finished")
      const settings = {
        PATH: `${folder}:${process.env["PATH"]}`,
        BUILDKITE_CLUSTER_TOKEN: "bkct_emulator",
        BUILDKITE_AGENT_ENDPOINT: emulator.baseUrl,
        STACK_BUILD_PATH: join(folder, "builds"),
        HEALTH_PORT: "0"
      }
      const stop = new AbortController()
      const ended = yield* Effect.forkChild(Effect.promise(() => run("09-production.ts", settings, stop.signal)))
      const taken = Effect.repeat(Effect.delay(isTaken, 50), { until: (it) => it })
      yield* Effect.raceFirst(taken, Fiber.join(ended))
      stop.abort()
      const { code, lines } = yield* Fiber.join(ended)
      assert.strictEqual(code, 130)
      assert.match(lines.at(-1) ?? "", /"message":"Stopped"/)
      assert.notInclude(lines.join("\n"), "bkct_")
      assert.deepInclude((yield* emulator.jobs)[0], { state: "finished", exitStatus: 0 })
      assert.isEmpty(yield* emulator.stacks)
    }).pipe(Effect.scoped, Effect.provide(NodeStacksEmulator.layer()))
  )
})

describe("What the guide deploys", () => {
  const read = (path: string) => readFileSync(join(root, path), "utf8")
  /** In seconds. */
  const grace = 10 * 60

  it("gives the stack more time to end than its grace and 25 seconds", () => {
    assert.include(read("examples/guide/09-production.ts"), `Config.Duration("STACK_SHUTDOWN_GRACE"), "10 minutes"`)
    const unit = read("examples/deploy/my-stack.service")
    assert.include(unit, "STACK_SHUTDOWN_GRACE=10 minutes")
    assert.isAbove(60 * Number(/^TimeoutStopSec=(\d+)min$/m.exec(unit)?.[1]), grace + 25)
    const manifest = read("examples/deploy/kubernetes.yaml")
    assert.include(manifest, "STACK_SHUTDOWN_GRACE, value: 10 minutes")
    assert.isAbove(Number(/terminationGracePeriodSeconds: (\d+)/.exec(manifest)?.[1]), grace + 25)
    assert.isAbove(Number(/--stop-timeout (\d+)/.exec(read("examples/deploy/Containerfile"))?.[1]), grace + 25)
  })

  it("sets only what the program reads", () => {
    const program = read("examples/guide/09-production.ts")
    for (const file of ["my-stack.service", "Containerfile", "kubernetes.yaml"]) {
      for (const [name] of read(`examples/deploy/${file}`).matchAll(/\b(STACK|HEALTH)_[A-Z_]+/g)) {
        assert.include(program, `"${name}"`, file)
      }
    }
  })
})
