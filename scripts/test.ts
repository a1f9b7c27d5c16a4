/**
 * The test command: runs all steps, even if one fails, then prints one line `N passed, M failed`. It counts tests and type tests. A
 * step that fails without a failing test, crashes or hangs counts as one failure.
 *
 *     node scripts/test.ts [--slow]
 *
 * `--slow` runs the slow steps instead: the tests named `*.slow.test.ts`, the slow part of the smoke test, and the suite for all runtimes.
 */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { stripVTControlCharacters } from "node:util"
import { root } from "./run.ts"

interface Count {
  readonly passed: number
  readonly failed: number
}

interface Step {
  readonly script: string
  readonly args?: ReadonlyArray<string>
  /** Reads the number of tests from the output. A step without it runs no tests. */
  readonly count?: (output: string) => Count
}

const temporary = mkdtempSync(join(tmpdir(), "stacksapi-test-"))
process.on("exit", () => rmSync(temporary, { recursive: true, force: true }))

const vitestReport = join(temporary, "vitest.json")

const vitestCount = (): Count => {
  const report = JSON.parse(readFileSync(vitestReport, "utf8"))
  return { passed: report.numPassedTests, failed: report.numFailedTests }
}

const tstycheCount = (output: string): Count => {
  const line = /^Tests:.*$/m.exec(output)?.[0] ?? ""
  const read = (what: string) => Number(new RegExp(`(\\d+) ${what}`).exec(line)?.[1] ?? 0)
  return { passed: read("passed"), failed: read("failed") }
}

/** Reads the last line of a script of this repository. */
const lastLineCount = (output: string): Count => {
  const [, passed, failed] = /^(\d+) passed, (\d+) failed\s*$/m.exec(output.trimEnd().split("\n").at(-1) ?? "") ?? []
  return { passed: Number(passed ?? 0), failed: Number(failed ?? 0) }
}

const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${vitestReport}`]

const slowSteps: ReadonlyArray<Step> = [
  { script: "chromium" },
  { script: "services" },
  { script: "test:unit", args: ["--project=slow", ...reporters], count: vitestCount },
  { script: "smoke:slow" },
  // `smoke:slow` has made the tarballs.
  { script: "compat", args: ["--packed"], count: lastLineCount }
]

const fastSteps: ReadonlyArray<Step> = [
  { script: "format:check" },
  { script: "lint" },
  { script: "check" },
  { script: "cycles" },
  { script: "chromium" },
  { script: "services" },
  {
    script: "test:unit",
    args: ["--project=quick", ...reporters],
    count: vitestCount
  },
  { script: "test:types", count: tstycheCount },
  { script: "unused" },
  { script: "build" },
  { script: "pack:check" },
  { script: "size" },
  // `pack:check` has made the tarballs.
  { script: "smoke", args: ["--packed"] }
]

const steps = process.argv.includes("--slow") ? slowSteps : fastSteps

const timeoutSeconds = 1800
/** How long to wait for the output of a step that has exited, if a process that it has started keeps it open. */
const graceSeconds = 5

let stop = () => {}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    stop()
    process.exit(1)
  })
}

/** Runs a root script in a process group of its own, so that all processes of a step that hangs can be killed. */
const execute = ({ script, args = [] }: Step): Promise<{ readonly ok: boolean; readonly output: string }> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, ["--run", script, "--", ...args], {
      cwd: root,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text
      })
    }
    let grace: NodeJS.Timeout | undefined
    const end = (ok: boolean) => {
      clearTimeout(timer)
      clearTimeout(grace)
      resolve({ ok, output: stripVTControlCharacters(output) })
    }
    const kill = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL")
      } catch {
        // It has exited.
      }
    }
    stop = kill
    const timer = setTimeout(() => {
      output += `\nStopped after ${timeoutSeconds} s\n`
      kill()
      end(false)
    }, timeoutSeconds * 1000)
    child.on("error", (error) => {
      output += error
      end(false)
    })
    child.on("exit", (code) => {
      grace = setTimeout(() => {
        kill()
        end(code === 0)
      }, graceSeconds * 1000)
    })
    child.on("close", (code) => end(code === 0))
  })

const countOf = (step: Step, output: string): Count => {
  if (step.count === undefined) return { passed: 0, failed: 0 }
  try {
    return step.count(output)
  } catch {
    return { passed: 0, failed: 0 }
  }
}

let passed = 0
let failed = 0

for (const step of steps) {
  const start = performance.now()
  const { ok, output } = await execute(step)
  const count = countOf(step, output)
  const ranNothing = step.count !== undefined && count.passed + count.failed === 0
  const stepFailed = !ok || ranNothing || count.failed > 0
  passed += count.passed
  failed += stepFailed ? Math.max(1, count.failed) : 0

  const tests = step.count === undefined ? "" : ` (${count.passed} passed, ${count.failed} failed)`
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`${stepFailed ? "FAIL" : "ok  "} ${step.script}${tests} ${seconds} s`)
  if (stepFailed) {
    console.log(output)
    if (ranNothing) console.log("No test ran.")
  }
}

console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
