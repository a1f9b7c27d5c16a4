/** Which process should lead which queue. */
import { assert, describe, it } from "@effect/vitest"
import { place } from "../../../packages/node/src/internal/cluster/placement.ts"

const keys = (count: number) => Array.from({ length: count }, (_, index) => `q${String(index).padStart(2, "0")}`)
const member = (id: number, stackKeys: ReadonlyArray<string>, phase: "open" | "leaving" = "open") => ({
  id,
  phase,
  stackKeys,
  silentMillis: 500
})
const free = (stackKeys: ReadonlyArray<string>) => stackKeys.map((stackKey) => ({ stackKey, leader: null }))
const countsOf = (placed: ReadonlyMap<string, number>, ids: ReadonlyArray<number>) =>
  ids.map((id) => Array.from(placed.values()).filter((leader) => leader === id).length)

describe("place", () => {
  it("spreads queues evenly", () => {
    const all = keys(20)
    const placed = place([member(1, all), member(2, all), member(3, all)], free(all))
    assert.deepStrictEqual(countsOf(placed, [1, 2, 3]).sort(), [6, 7, 7])
  })

  it("leaves queues where they are, but for those that another process should have", () => {
    const all = keys(20)
    const before = place([member(1, all), member(2, all), member(3, all)], free(all))
    const rows = all.map((stackKey) => ({ stackKey, leader: before.get(stackKey) ?? null }))
    const after = place([member(1, all), member(2, all), member(3, all), member(4, all)], rows)
    assert.deepStrictEqual(countsOf(after, [1, 2, 3, 4]), [5, 5, 5, 5])
    const moved = all.filter((stackKey) => after.get(stackKey) !== before.get(stackKey))
    assert.lengthOf(moved, 5)
    assert.deepStrictEqual(new Set(moved.map((stackKey) => after.get(stackKey))), new Set([4]))
  })

  it("places no queue on a process that leaves, or that does not list it", () => {
    const placed = place(
      [member(1, ["a", "b"]), member(2, ["b", "c"]), member(3, ["a", "b", "c"], "leaving")],
      [
        { stackKey: "a", leader: 3 },
        { stackKey: "b", leader: 3 },
        { stackKey: "c", leader: 1 },
        { stackKey: "d", leader: null }
      ]
    )
    assert.strictEqual(placed.get("a"), 1)
    assert.strictEqual(placed.get("c"), 2)
    assert.isFalse(placed.has("d"))
  })

  it("is the same whatever the order of the rows, and places anew what it has placed", () => {
    const all = keys(13)
    const members = [member(5, all), member(9, all.slice(0, 6)), member(7, all.slice(3))]
    const placed = place(members, free(all))
    assert.deepStrictEqual(
      new Map([...place(members.toReversed(), free(all.toReversed()))].sort()),
      new Map([...placed].sort())
    )
    const rows = all.map((stackKey) => ({ stackKey, leader: placed.get(stackKey) ?? null }))
    assert.deepStrictEqual(new Map([...place(members, rows)].sort()), new Map([...placed].sort()))
  })

  it("gives no queue to a process that is silent, and takes none away from it", () => {
    const silent = { ...member(1, keys(6)), silentMillis: 3000 }
    const rows = [...free(keys(5)), { stackKey: "q05", leader: 1 }]
    const placed = place([silent, member(2, keys(6)), member(3, keys(6))], rows)
    assert.deepStrictEqual(countsOf(placed, [1, 2, 3]), [1, 3, 2])
    assert.strictEqual(placed.get("q05"), 1)
    assert.deepStrictEqual(countsOf(place([silent], rows), [1]), [6])
  })

  it("prefers neither the oldest process nor the youngest one", () => {
    const heirs = Array.from({ length: 60 }, (_, first) => {
      const members = [first, first + 1, first + 2].map((id) => member(id, ["q"]))
      return (place(members, free(["q"])).get("q") ?? 0) - first
    })
    for (const heir of [0, 1, 2]) assert.isAtLeast(heirs.filter((index) => index === heir).length, 10)
  })
})
