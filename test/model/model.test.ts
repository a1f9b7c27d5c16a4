/** A hundred worlds of the model. `pnpm model` runs any number of them. */
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { generate } from "./plan.ts"
import { run } from "./run.ts"

const batch = 10

describe("the runtime in a random world", () => {
  for (let first = 1; first <= 100; first += batch) {
    it(`holds every invariant with the seeds ${first} to ${first + batch - 1}`, async () => {
      for (let seed = first; seed < first + batch; seed++) {
        const { log, violation } = await run(generate(seed))
        if (violation !== undefined) {
          assert.fail(`seed ${seed}: ${violation.invariant}: ${violation.message}\n${log.slice(-60).join("\n")}`)
        }
      }
    })
  }

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
