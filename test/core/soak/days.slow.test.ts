/** Two days of what `bench/soak/days.ts` does for thirty. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { leaks } from "../../support/leaks.ts"
import { live, problemsOf } from "./days.ts"

describe("A stack that runs for days", () => {
  it.effect("ends all jobs and leaks nothing, with an outage every other hour", () =>
    Effect.gen(function* () {
      const life = yield* live({ days: 2, pace: "10 minutes" })
      assert.deepStrictEqual(problemsOf(life), [])
    })
  )

  it.effect("fails the leak check if it keeps a fiber or a timer for some of its jobs", () =>
    Effect.gen(function* () {
      const leak = (jobUuid: string) => Effect.andThen(leaks.fiber(jobUuid), leaks.timer(jobUuid))
      const problems = problemsOf(yield* live({ days: 2, pace: "10 minutes", leak }))
      assert.match(problems[0] ?? "", /^fibers: \d+, later \d+$/)
      assert.match(problems[1] ?? "", /^Timeout: /)
    })
  )
})
