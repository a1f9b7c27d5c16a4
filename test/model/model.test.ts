/** A hundred worlds of the model. `pnpm model` runs any number of them. */
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

  it("is the same world each time", async () => {
    const plan = generate(7)
    assert.deepStrictEqual((await run(plan)).log, (await run(plan)).log)
  })
})
