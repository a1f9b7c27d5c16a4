/** Some of what `bench/herd/main.ts` tries, with clients that ask for little. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { careless, crowds } from "./crowds.ts"
import { meet, type Report } from "./herd.ts"
import { outages } from "./outages.ts"

const ofOneStack = { start: "15 seconds", before: "10 seconds", outage: "5 minutes", after: "1 minute" } as const
const ofManyStacks = { start: "3 seconds", before: "5 seconds", outage: "5 minutes", after: "40 seconds" } as const

/** They are back soon after the outage, and at no time too many. */
const assertWithinLimits = ({ after, before, during, refused }: Report) => {
  assert.isAbove(before.mean, 0)
  assert.isAtLeast(after.mean, before.mean / 2)
  assert.isAtMost(during.ofLimit, 1.05)
  assert.isAtMost(after.ofLimit, 1.05)
  assert.strictEqual(refused, 0)
}

describe("A hundred clients after an outage of five minutes", () => {
  const sharing = [
    ["one process, RateLimit.layerMemory", "503, Retry-After: its end"],
    ["one process, RateLimit.layerMemory", "silence, then all connections break"],
    ["100 processes, RateLimit.layerStore", "503, Retry-After: 45"],
    ["100 processes, RateLimit.layerStore", "silence, then all connections break"]
  ] as const
  for (const [crowd, outage] of sharing) {
    it.effect(`keep to the limit of the stack that they share: ${crowd}; ${outage}`, () =>
      Effect.gen(function* () {
        assertWithinLimits(yield* meet(crowds[crowd], outages[outage], ofOneStack, "little"))
      })
    )
  }

  it.effect("keep to the limits of their own stacks", () =>
    Effect.gen(function* () {
      const crowd = crowds["100 processes, a stack key each, RateLimit.layerMemory"]
      assertWithinLimits(yield* meet(crowd, outages["503, Retry-After: its end"], ofManyStacks, "little"))
    })
  )

  for (const outage of ["503, Retry-After: its end", "silence, then all connections break"] as const) {
    it.effect(`come back as far apart as they were, where they are stacks of the runtime: ${outage}`, () =>
      Effect.gen(function* () {
        const report = yield* meet(crowds["100 processes, each a Stack"], outages[outage], ofManyStacks, "little")
        assertWithinLimits(report)
        assert.isAtMost(report.after.inTenth, 1.5 * report.before.inTenth)
      })
    )
  }

  it.effect("exceed a shared limit if each process counts by itself", () =>
    Effect.gen(function* () {
      const crowd = careless["100 processes, RateLimit.layerMemory in each"]
      const { after } = yield* meet(crowd, outages["silence, then all connections break"], ofOneStack, "little")
      assert.isAbove(after.ofLimit, 1.05)
    })
  )
})
