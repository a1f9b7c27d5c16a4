/** Two days of what `bench/soak/days.ts` does for thirty. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { leaks } from "../../support/leaks.ts"
import { live, problemsOf } from "./days.ts"

describe("a stack that lives for days", () => {
  it.effect("through an outage every other hour ends all jobs, and keeps nothing", () =>
    Effect.gen(function* () {
      const life = yield* live({ days: 2, pace: "10 minutes" })
      assert.deepStrictEqual(problemsOf(life), [])
    })
  )

  it.effect("would be seen to keep a fiber or a timer for some of its jobs", () =>
    Effect.gen(function* () {
      const leak = (jobUuid: string) => Effect.andThen(leaks.fiber(jobUuid), leaks.timer(jobUuid))
      const problems = problemsOf(yield* live({ days: 2, pace: "10 minutes", leak }))
      assert.match(problems[0] ?? "", /^fibers: \d+, later \d+$/)
      assert.match(problems[1] ?? "", /^Timeout: /)
    })
  )
})
