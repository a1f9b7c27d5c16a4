import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Timeline } from "../../packages/core/src/internal/emulator/timeline.ts"

interface Item {
  readonly sequence: number
  readonly time: number
}

const compare = (a: Item, b: Item) => a.time - b.time || a.sequence - b.sequence

describe("Timeline", () => {
  it.effect.prop(
    "keeps its order, whatever comes and goes",
    {
      // Few times and many items: long runs of equal times, and chunks that split and empty.
      times: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))),
      seed: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))
    },
    ({ seed, times }) =>
      Effect.sync(() => {
        const items = times.flatMap((time, i) =>
          Array.from({ length: 300 }, (_, j) => ({ sequence: i * 300 + j, time: time + ((j * seed) % 3) }))
        )
        const timeline = new Timeline<Item>((item) => item.time)
        for (const item of items.filter((_, i) => (i * seed) % 7 < 5)) timeline.add(item)
        for (const item of items.filter((_, i) => (i * seed) % 11 < 4)) timeline.remove(item)
        const expected = items.filter((_, i) => (i * seed) % 7 < 5 && (i * seed) % 11 >= 4).sort(compare)
        assert.strictEqual(timeline.first, expected[0])
        assert.deepStrictEqual(timeline.after(undefined, Number.POSITIVE_INFINITY), expected)
        const anywhere = { time: seed % 6, sequence: (seed * 7) % (items.length + 1) }
        assert.deepStrictEqual(
          timeline.after(anywhere, 10),
          expected.filter((item) => compare(item, anywhere) > 0).slice(0, 10)
        )
      }),
    { arbitrary: { runs: 50, seed: 1 } }
  )

  it("seeks among 100,000 items in a few steps", () => {
    let looks = 0
    const timeline = new Timeline<Item>((item) => {
      looks++
      return item.time
    })
    const items = Array.from({ length: 100_000 }, (_, i) => ({ sequence: i, time: i >>> 3 }))
    for (const item of items) timeline.add(item)

    const looksOf = (act: () => unknown) => {
      looks = 0
      act()
      return looks
    }
    for (const item of [items[0], items[50_000], items[99_999]]) {
      assert.isDefined(item)
      assert.isBelow(
        looksOf(() => timeline.remove(item)),
        40
      )
      assert.isBelow(
        looksOf(() => timeline.add(item)),
        40
      )
      assert.isBelow(
        looksOf(() => timeline.after({ time: item.time, sequence: item.sequence }, 1000)),
        40
      )
    }
    assert.strictEqual(
      looksOf(() => timeline.after(undefined, 1000)),
      0
    )
  })
})
