/** The plans that have found a fault once, with the model of the runtime. The files `seeds.*.test.ts` run a hundred random ones. */
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { generate } from "./providerPlan.ts"
import { run } from "./run.ts"

describe("the runtime in a random world", () => {
  for (const file of globSync("plans/*.json", { cwd: import.meta.dirname }).sort()) {
    it(`holds every invariant with a plan that found a fault once: ${file}`, async () => {
      const { log, violation } = await run(JSON.parse(readFileSync(join(import.meta.dirname, file), "utf8")))
      if (violation !== undefined) {
        assert.fail(`${violation.invariant}: ${violation.message}\n${log.slice(-60).join("\n")}`)
      }
    })
  }

  it("is the same world each time", async () => {
    const plan = generate(7)
    assert.deepStrictEqual((await run(plan)).log, (await run(plan)).log)
  })
})
