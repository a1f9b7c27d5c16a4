import { spawn } from "node:child_process"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"

const examples = join(import.meta.dirname, "../../examples")

/** The lines that each example has to print, in this order, among others. */
const expected: Record<string, ReadonlyArray<string | RegExp>> = {
  "quick-start.ts": [
    "registered quick-start for the queue examples",
    "3 reserved, 0 not",
    "finished: make release",
    "deregistered"
  ],
  "retry-policies.ts": [
    "two failures, then an answer: Success, requests: 3",
    "four attempts at most: Failure, requests: 4",
    "a list call is not retried: Failure, requests: 1",
    "a 404 is never retried: Failure, requests: 1",
    "a proxy's HTML page: Success, requests: 2",
    "a reset connection: Success, requests: 2",
    "Retry-After of 1 s: Success, requests: 2",
    "none, for one call: Failure, requests: 1",
    /^until 100 ms have passed: Failure, requests: \d$/,
    "20 callers and a budget of 5: Success, requests: 25"
  ],
  "streaming.ts": [
    "reserved 2500 jobs",
    "read 3 pages",
    "may start anywhere",
    "may start on-linux",
    "may start added-later"
  ],
  "swapped-layers.ts": [
    "refused 2 jobs after 3 s: finished -1, finished -1",
    // On the real clock, of a machine that may be busy.
    /^refused 2 jobs after ([3-9]|\d\d+) s: finished -1, finished -1$/
  ],
  "custom-runner.ts": [
    "test ran make test",
    "lint ran make lint",
    "lint finished with 0",
    "test finished with 0",
    "release finished with -1"
  ],
  "observability.ts": [
    "/readyz: 200",
    `  stacksapi_jobs_total{outcome="Finished"} 2`,
    "traces: 3 of jobs",
    "  Stack.job, linked to Stack.reserve",
    "    build",
    "logs:",
    "  Info Registered observability for queue examples",
    "  Warn Job release failed: No machine may release"
  ],
  "cluster.ts": ["There is no database here: set DATABASE_URL to one of PostgreSQL"],
  "vm-agents.ts": ["There is no API of machines here: set VM_API_URL to that of yours"],
  "detached-agents.ts": ["There is no folder for agents: set AGENTS_FOLDER to one"],
  "slurm-agents.ts": ["There is no file for the stack's jobs: set STACK_STORE to one"],
  "warm-agents.ts": [
    "first machine runs build",
    "second machine runs lint",
    "build finished with 0",
    "lint finished with 1",
    "test finished with 0"
  ],
  "promises.ts": ["make test with CI=true", "failed: NotFound, retryable: false", "aborted: true"]
}

const run = (file: string) =>
  new Promise<{ readonly code: number | null; readonly lines: ReadonlyArray<string>; readonly stderr: string }>(
    (resolve, reject) => {
      const child = spawn(process.execPath, [join(examples, file)], { stdio: ["ignore", "pipe", "pipe"] })
      const output = { stdout: "", stderr: "" }
      child.stdout.setEncoding("utf8").on("data", (text) => {
        output.stdout += text
      })
      child.stderr.setEncoding("utf8").on("data", (text) => {
        output.stderr += text
      })
      child.on("error", reject)
      child.on("close", (code) => resolve({ code, lines: output.stdout.trimEnd().split("\n"), stderr: output.stderr }))
    }
  )

describe("the examples", () => {
  it("are all checked here", () => {
    const files = readdirSync(examples).filter((file) => file.endsWith(".ts"))
    assert.deepStrictEqual(files.sort(), Object.keys(expected).sort())
  })

  it.concurrent.for(Object.keys(expected))("%s runs on plain Node and ends", async (file) => {
    const { code, lines, stderr } = await run(file)
    assert.strictEqual(stderr, "")
    assert.strictEqual(code, 0)
    let from = 0
    for (const line of expected[file] ?? []) {
      const found = lines.findIndex(
        (it, index) => index >= from && (it === line || (line instanceof RegExp && line.test(it)))
      )
      assert.isAtLeast(found, 0, `${line} in:\n${lines.join("\n")}`)
      from = found + 1
    }
  })
})
