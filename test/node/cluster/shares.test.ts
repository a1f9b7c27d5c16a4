/** How a cluster's slots are shared among its queues. */
import { assert, describe, it } from "@effect/vitest"
import { share } from "../../../packages/node/src/internal/cluster/shares.ts"

const demandsOf = (wishes: ReadonlyArray<number>) =>
  wishes.map((wanted, index) => ({ stackKey: `queue-${String(index).padStart(2, "0")}`, wanted }))

/** What each queue gets, turn after turn. */
const rounds = (slots: number, wishes: ReadonlyArray<number>, turns: number) =>
  Array.from({ length: turns }, (_, turn) => {
    const demands = demandsOf(wishes)
    // No two leaders need to read the rows in the same order.
    const shares = share(slots, turn % 2 === 0 ? demands : demands.toReversed(), 178_000_000 + turn)
    return demands.map(({ stackKey }) => shares.get(stackKey) ?? 0)
  })

const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((all, number) => all + number, 0)

describe("The slots of a cluster", () => {
  it("go round where more queues want some than there are: each gets as many turns as any other", () => {
    for (const [slots, wishes] of [
      [2, [5, 5, 9]],
      [12, new Array<number>(20).fill(3)],
      [1, [1, 1, 7, 100]],
      [7, [4, 4, 4, 4, 4]]
    ] as const) {
      const shares = rounds(slots, wishes, wishes.length)
      for (const each of shares) assert.strictEqual(sum(each), slots)
      const totals = wishes.map((_, index) => sum(shares.map((each) => each[index] ?? 0)))
      assert.deepStrictEqual(
        totals,
        wishes.map(() => slots)
      )
      // Never more than one slot apart.
      for (const each of shares) assert.isAtMost(Math.max(...each) - Math.min(...each), 1)
    }
  })

  it("go to those who want few first, and are shared evenly by the others", () => {
    for (const each of rounds(10, [1, 0, 20, 20], 4)) {
      assert.deepStrictEqual(each.slice(0, 2), [1, 0])
      assert.sameMembers(each.slice(2), [4, 5])
    }
  })

  it("are all shared where nobody wants them, by turns where they are fewer than queues", () => {
    assert.deepStrictEqual(rounds(10, [0, 2], 1), [[4, 6]])
    const shares = rounds(2, [0, 0, 0], 3)
    for (const each of shares) assert.strictEqual(sum(each), 2)
    assert.deepStrictEqual(
      [0, 1, 2].map((index) => sum(shares.map((each) => each[index] ?? 0))),
      [2, 2, 2]
    )
  })

  it("are never more than there are, whatever is wanted", () => {
    for (let slots = 0; slots < 15; slots++)
      for (let queues = 1; queues < 9; queues++)
        for (let seed = 0; seed < 5; seed++) {
          const wishes = Array.from({ length: queues }, (_, index) => (index * 7 + seed * 11 + slots * 3) % 6)
          for (const each of rounds(slots, wishes, 3)) assert.strictEqual(sum(each), slots)
        }
  })

  it("are nobody's where there is no queue", () => {
    assert.strictEqual(share(3, [], 1).size, 0)
  })
})
