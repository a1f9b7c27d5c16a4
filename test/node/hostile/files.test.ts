/** Ids of jobs that lead somewhere else as a path: nothing is written outside of the folders that were given. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import type { JobRunner } from "@stacksapi/core"
import { Effect } from "effect"
import { commandRunner, jobWith } from "../../support/commands.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const named = (id: string): JobRunner.JobContext => {
  const context = jobWith("echo written")
  return { ...context, job: { ...context.job, id } }
}

/** All files below a folder, with its own name left out. */
const filesIn = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => statSync(join(folder, path)).isFile())
    .sort()

describe("The files with the output of jobs", () => {
  it.live.each([
    ["../escaped", "..%2Fescaped.log"],
    ["../../escaped", "..%2F..%2Fescaped.log"],
    ["/etc/cron.d/escaped", "%2Fetc%2Fcron.d%2Fescaped.log"],
    ["..", "...log"],
    [".", "..log"],
    ["..\\escaped", "..%5Cescaped.log"],
    ["%2e%2e%2fescaped", "%252e%252e%252fescaped.log"],
    ["a\nb", "a%0Ab.log"],
    ["\u001b[2J", "%1B%5B2J.log"]
  ] as const)("are in their folder, whatever the job's id: %j", ([id, name]) =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const logs = join(folder, "a", "b", "logs")
      const { run } = yield* commandRunner({ logDirectory: logs })
      yield* run(named(id))
      assert.deepStrictEqual(filesIn(folder), [join("a", "b", "logs", name)])
      assert.strictEqual(readFileSync(join(logs, name), "utf8"), "written\n")
    }).pipe(Effect.scoped)
  )

  it.live.each([
    ["too long for a name", "x".repeat(300)],
    ["half a character", "\ud800"],
    ["nothing", ""]
  ] as const)("are done without where an id makes no name, and the job is run: %s", ([, id]) =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { run } = yield* commandRunner({ logDirectory: folder })
      const outcome = yield* run(named(id))
      assert(outcome._tag === "Finished")
      assert.strictEqual(outcome.exitStatus, 0)
      for (const name of filesIn(folder)) assert.match(name, /^[^/]*\.log$/)
    }).pipe(Effect.scoped)
  )
})
