/**
 * Tests of random worlds of the model. The seeds are in several files, because a worker runs a whole file, and one file would keep one
 * worker at work when all others have ended. `pnpm model` runs any number of seeds.
 */
import { assert, describe, it } from "@effect/vitest"
import { generate } from "./providerPlan.ts"
import { run } from "./run.ts"

const batch = 5

export const testSeeds = (from: number, to: number) => {
  describe("the runtime in a random world", () => {
    for (let first = from; first <= to; first += batch) {
      it(`holds every invariant with the seeds ${first} to ${first + batch - 1}`, async () => {
        for (let seed = first; seed < first + batch; seed++) {
          const { log, violation } = await run(generate(seed))
          if (violation !== undefined) {
            assert.fail(`seed ${seed}: ${violation.invariant}: ${violation.message}\n${log.slice(-60).join("\n")}`)
          }
        }
      })
    }
  })
}
