/** How the slots of a cluster are allocated to its queues. */
import { assert, describe, it } from "@effect/vitest"
import { allocate, allocateAmong } from "../../../packages/node/src/internal/cluster/allocation.ts"

const demandsOf = (wanted: ReadonlyArray<number>) =>
  wanted.map((wanted, index) => ({ stackKey: `queue-${String(index).padStart(2, "0")}`, wanted }))

/** The allocation of each queue, turn after turn. */
const rounds = (slots: number, wanted: ReadonlyArray<number>, turns: number) =>
  Array.from({ length: turns }, (_, turn) => {
    const demands = demandsOf(wanted)
    // Leaders may read the rows in different orders.
    const allocations = allocate(slots, turn % 2 === 0 ? demands : demands.toReversed(), 178_000_000 + turn)
    return demands.map(({ stackKey }) => allocations.get(stackKey) ?? 0)
  })

const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((all, number) => all + number, 0)

describe("allocate", () => {
  it("rotates slots that can't be divided evenly: every queue gets the same number over all turns", () => {
    for (const [slots, wanted] of [
      [2, [5, 5, 9]],
      [12, new Array<number>(20).fill(3)],
      [1, [1, 1, 7, 100]],
      [7, [4, 4, 4, 4, 4]]
    ] as const) {
      const allocations = rounds(slots, wanted, wanted.length)
      for (const each of allocations) assert.strictEqual(sum(each), slots)
      const totals = wanted.map((_, index) => sum(allocations.map((each) => each[index] ?? 0)))
      assert.deepStrictEqual(
        totals,
        wanted.map(() => slots)
      )
      // Never more than one slot apart.
      for (const each of allocations) assert.isAtMost(Math.max(...each) - Math.min(...each), 1)
    }
  })

  it("meets small demands, and divides the rest evenly", () => {
    for (const each of rounds(10, [1, 0, 20, 20], 4)) {
      assert.deepStrictEqual(each.slice(0, 2), [1, 0])
      assert.sameMembers(each.slice(2), [4, 5])
    }
  })

  it("divides slots that no queue wants, in turns if there are fewer slots than queues", () => {
    assert.deepStrictEqual(rounds(10, [0, 2], 1), [[4, 6]])
    const allocations = rounds(2, [0, 0, 0], 3)
    for (const each of allocations) assert.strictEqual(sum(each), 2)
    assert.deepStrictEqual(
      [0, 1, 2].map((index) => sum(allocations.map((each) => each[index] ?? 0))),
      [2, 2, 2]
    )
  })

  it("allocates exactly the slots that there are, whatever is wanted", () => {
    for (let slots = 0; slots < 15; slots++)
      for (let queues = 1; queues < 9; queues++)
        for (let seed = 0; seed < 5; seed++) {
          const wanted = Array.from({ length: queues }, (_, index) => (index * 7 + seed * 11 + slots * 3) % 6)
          for (const each of rounds(slots, wanted, 3)) assert.strictEqual(sum(each), slots)
        }
  })

  it("allocates nothing without queues", () => {
    assert.strictEqual(allocate(3, [], 1).size, 0)
  })
})

describe("allocateAmong", () => {
  const allocated = (
    pools: ReadonlyArray<readonly [slots: number, ...stackKeys: ReadonlyArray<string>]>,
    wanted: Readonly<Record<string, number>>,
    turn = 0
  ) =>
    Object.fromEntries(
      allocateAmong(
        pools.map(([slots, ...stackKeys]) => ({ slots, stackKeys })),
        Object.entries(wanted).map(([stackKey, wanted]) => ({ stackKey, wanted })),
        turn
      )
    )

  it("gives queues only slots of the processes that list them, and all of these", () => {
    assert.deepStrictEqual(
      allocated(
        [
          [2, "q1", "q2"],
          [10, "q3"]
        ],
        { q1: 20, q2: 20, q3: 30 }
      ),
      { q1: 1, q2: 1, q3: 10 }
    )
  })

  it("gives a queue that is listed everywhere what the others can't use", () => {
    assert.deepStrictEqual(
      allocated(
        [
          [4, "a", "b"],
          [4, "b"],
          [4, "b", "c"]
        ],
        { a: 9, b: 9, c: 1 }
      ),
      { a: 4, b: 7, c: 1 }
    )
  })

  it("moves a queue away from the only slots that another one can have", () => {
    const pools = [
      [1, "a", "b"],
      [1, "b"]
    ] as const
    for (const turn of [0, 1]) assert.deepStrictEqual(allocated(pools, { a: 1, b: 1 }, turn), { a: 1, b: 1 })
    for (const turn of [0, 1]) assert.deepStrictEqual(allocated(pools, { b: 1, a: 1 }, turn), { a: 1, b: 1 })
  })

  it("is as fair as with one list, turn after turn", () => {
    const pools = [
      [1, "a", "b", "c"],
      [1, "a", "b", "c", "d"],
      [3, "d"]
    ] as const
    const totals = { a: 0, b: 0, c: 0 }
    for (let turn = 0; turn < 4; turn++) {
      const { a = 0, b = 0, c = 0, d = 0 } = allocated(pools, { a: 9, b: 9, c: 9, d: 9 }, turn)
      assert.deepStrictEqual([a + b + c, d], [2, 3])
      totals.a += a
      totals.b += b
      totals.c += c
    }
    assert.isAtLeast(Math.min(...Object.values(totals)), 2)
  })
})
