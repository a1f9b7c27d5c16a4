/** A few seconds of what `bench/soak/http.ts` does for ten minutes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { problemsOf, soak } from "./soak.ts"

describe("A stack over HTTP at full rate", () => {
  it.live("leaves no fiber and no connection open", () =>
    Effect.gen(function* () {
      const soaked = yield* soak({ interval: 0, jobsEach: 100, intervals: 1, rest: 0 })
      assert.deepStrictEqual(problemsOf(soaked), [])
    })
  )
})
