/** What a process loads at its start. Each module costs about a millisecond of CPU time, so what is not used is not loaded. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { bin } from "../support/cli.ts"

const hook = new URL("../support/loadedModules.ts", import.meta.url).href

/** The modules that a process of Node loads. */
const loadedBy = (...args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { output } = spawnSync(process.execPath, ["--import", hook, ...args], {
    cwd: fileURLToPath(new URL("../../packages/node", import.meta.url)),
    encoding: "utf8",
    stdio: ["ignore", "ignore", "ignore", "pipe"]
  })
  return JSON.parse(output[3] ?? "")
}

const loadsNone = (urls: ReadonlyArray<string>, pattern: RegExp) => {
  assert.isAbove(urls.length, 10)
  assert.deepStrictEqual(
    urls.filter((url) => pattern.test(url)),
    []
  )
}

const heavy =
  /\/core\/src\/(internal\/(stack|emulator|client)|Stack|StacksEmulator|ScheduledJobs)\b|\/internal\/(docker|doctor|emulator|health|page|pipeline|view)\/|\/runners\/\w+Runner\.ts|\w+Handler\.ts|\/(yaml|undici|ws)\/|\/effect\/\w+\/(http\/Http|sql|cluster)/

describe("The command", () => {
  for (const args of ["jobs list --nope", "run --nope", "emulator --nope", "doctor --nope", "--help --nope"]) {
    it(`loads only declarations to reject \`stacksapi ${args}\``, () => {
      loadsNone(loadedBy(bin, ...args.split(" ")), heavy)
    })
  }

  it("does not load the emulator, a runner or a view to list jobs", () => {
    const urls = loadedBy(bin, "jobs", "list", "--key", "key", "--token-file", "/missing")
    assert.isTrue(urls.some((url) => url.endsWith("/jobsListHandler.ts")))
    loadsNone(
      urls,
      /\/internal\/(stack|emulator|docker|doctor|health|page|pipeline|runners\/\w+Runner|view)\b|\/yaml\//
    )
  })
})

describe("The package", () => {
  it("loads a runner, a server or a client when one is used", () => {
    loadsNone(
      loadedBy("--input-type=module", "--eval", `import "@stacksapi/node"`),
      new RegExp(`${heavy.source}|/Schema`)
    )
  })
})
