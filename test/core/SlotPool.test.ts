/** A pool of slots by itself: what each member may take, whatever the others do. */
import { assert, describe, it } from "@effect/vitest"
import { SlotPool } from "@stacksapi/core"
import { Effect, type Scope } from "effect"

/** A member who wants more slots than there are, and keeps each until it is told to let one go. */
const greedy = Effect.fnUntraced(function* (
  pool: SlotPool.SlotPool,
  weight = 1
): Effect.fn.Return<Greedy, never, Scope.Scope> {
  const self = { taken: 0, granted: 0, most: 1000, isAwake: true }
  const wants = () => Math.max(0, self.most - self.taken)
  const membership = yield* pool.join({
    weight,
    taken: () => self.taken,
    wanted: wants,
    wake: () => (self.isAwake = true)
  })
  return {
    taken: () => self.taken,
    granted: () => self.granted,
    isAwake: () => self.isAwake,
    wants,
    wantAtMost: (count) => {
      self.most = count
      membership.update()
    },
    take: (count) => {
      const taken = membership.take(count)
      // Who got some looks again, as after each change of its own.
      self.isAwake = taken > 0
      self.taken += taken
      self.granted += taken
      membership.update()
      return taken
    },
    release: () => {
      self.taken = Math.max(0, self.taken - 1)
      self.isAwake = true
      membership.update()
    }
  }
})

interface Greedy {
  readonly taken: () => number
  /** How many it ever had. */
  readonly granted: () => number
  readonly isAwake: () => boolean
  /** How many more it wants. */
  readonly wants: () => number
  readonly wantAtMost: (count: number) => void
  readonly take: (count: number) => number
  readonly release: () => void
}

const sum = (counts: ReadonlyArray<number>) => counts.reduce((total, count) => total + count, 0)

/** Has those who are awake take what they may, until nobody gets any more. */
const settle = (members: ReadonlyArray<Greedy>) => {
  let taken: number
  do {
    taken = sum(members.map((member) => (member.isAwake() ? member.take(1000) : 0)))
  } while (taken > 0)
}

/** Every slot is let go in turn, the longest held first, and given anew; gives what each had on average, and got. */
const turnOver = (members: ReadonlyArray<Greedy>, rounds: number) => {
  const held: Array<Greedy> = []
  const note = () => {
    for (const member of members) {
      const known = held.filter((other) => other === member).length
      for (let count = known; count < member.taken(); count++) held.push(member)
    }
  }
  settle(members)
  note()
  const before = members.map((member) => member.granted())
  const sums = members.map(() => 0)
  for (let round = 0; round < rounds; round++) {
    held.shift()?.release()
    settle(members)
    note()
    for (const [index, member] of members.entries()) sums[index] = (sums[index] ?? 0) + member.taken()
  }
  return members.map((member, index) => ({
    average: (sums[index] ?? 0) / rounds,
    granted: member.granted() - (before[index] ?? 0)
  }))
}

describe("A pool of slots", () => {
  it.effect("gives out exactly the slots that there are if members want them", () =>
    Effect.gen(function* () {
      const pool = yield* SlotPool.make(10)
      const members = yield* Effect.all(Array.from({ length: 7 }, () => greedy(pool)))
      settle(members)
      assert.deepStrictEqual(members.map((member) => member.taken()).sort(), [1, 1, 1, 1, 2, 2, 2])
      assert.strictEqual(pool.free(), 0)
      yield* pool.setSize(14)
      settle(members)
      assert.deepStrictEqual(
        members.map((member) => member.taken()),
        [2, 2, 2, 2, 2, 2, 2]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("lets members take turns if there are fewer slots than members", () =>
    Effect.gen(function* () {
      const pool = yield* SlotPool.make(3)
      const members = yield* Effect.all(Array.from({ length: 10 }, () => greedy(pool)))
      const shares = turnOver(members, 1000)
      for (const { granted } of shares) assert.approximately(granted, 100, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("gives a member with a small weight its turn, however few slots there are", () =>
    Effect.gen(function* () {
      const pool = yield* SlotPool.make(2)
      const members = [yield* greedy(pool, 1), yield* greedy(pool, 1), yield* greedy(pool, 0.5)]
      const [first, second, light] = turnOver(members, 1000)
      assert.approximately(light?.average ?? 0, 0.4, 0.1)
      assert.approximately(first?.average ?? 0, 0.8, 0.1)
      assert.approximately(second?.average ?? 0, 0.8, 0.1)
    }).pipe(Effect.scoped)
  )

  it.effect("follows the weights within half a slot", () =>
    Effect.gen(function* () {
      const weights = [1, 2, 3.5, 0.1]
      const pool = yield* SlotPool.make(5)
      const members = yield* Effect.forEach(weights, (weight) => greedy(pool, weight))
      const shares = turnOver(members, 2000)
      for (const [index, weight] of weights.entries()) {
        assert.approximately(shares[index]?.average ?? 0, (5 * weight) / sum(weights), 0.5)
        assert.isAtLeast(shares[index]?.granted ?? 0, 10)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("treats an invalid weight as a valid one", () =>
    Effect.gen(function* () {
      for (const weight of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -1]) {
        const pool = yield* SlotPool.make(4)
        const members = [yield* greedy(pool), yield* greedy(pool, weight), yield* greedy(pool)]
        settle(members)
        assert.strictEqual(sum(members.map((member) => member.taken())), 4, `weight ${weight}`)
        // Nobody waits for ever for the one with the odd weight, nor it for the others.
        const shares = turnOver(members, 200)
        assert.isAtLeast(sum(shares.map(({ average }) => average)), 3.9, `weight ${weight}`)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("wakes members that may take the slots another member leaves", () =>
    Effect.gen(function* () {
      const pool = yield* SlotPool.make(4)
      const [one, other] = [yield* greedy(pool), yield* greedy(pool)]
      settle([one, other])
      one.wantAtMost(0)
      one.release()
      assert.isTrue(other.isAwake())
      settle([one, other])
      assert.strictEqual(other.taken(), 3)
    }).pipe(Effect.scoped)
  )

  it.effect("gives the slots of a member that leaves to the others", () =>
    Effect.gen(function* () {
      const pool = yield* SlotPool.make(4)
      const stays = yield* greedy(pool)
      yield* Effect.scoped(
        Effect.gen(function* () {
          settle([stays, yield* greedy(pool)])
          assert.strictEqual(stays.taken(), 2)
        })
      )
      settle([stays])
      assert.strictEqual(stays.taken(), 4)
    }).pipe(Effect.scoped)
  )

  it.effect("asks only the member that has changed, however many there are", () =>
    Effect.gen(function* () {
      const pool = yield* SlotPool.make(10)
      let asked = 0
      const wanted = () => {
        asked++
        return 0
      }
      for (let count = 0; count < 1000; count++) yield* pool.join({ weight: 1, taken: () => 0, wanted, wake: () => {} })
      const busy = yield* greedy(pool)
      asked = 0
      settle([busy])
      for (let turn = 0; turn < 10; turn++) busy.release()
      settle([busy])
      assert.strictEqual(busy.taken(), 10)
      assert.strictEqual(asked, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("leaves no wanted slot unused and gives none twice, for random members", () =>
    Effect.gen(function* () {
      let seed = 7
      const random = (below: number) => {
        seed = (seed * 48_271) % 2_147_483_647
        return seed % below
      }
      for (let shape = 0; shape < 200; shape++) {
        const size = random(40)
        const pool = yield* SlotPool.make(size)
        const weights = Array.from({ length: 1 + random(12) }, () => (1 + random(30)) / 10)
        const members = yield* Effect.forEach(weights, (weight) => greedy(pool, weight))
        for (const member of members) if (random(3) === 0) member.wantAtMost(random(3))
        for (let step = 0; step < 30; step++) {
          const member = members[random(members.length)]
          if (random(2) === 0) member?.take(1 + random(20))
          else member?.release()
          assert.isAtMost(sum(members.map((member) => member.taken())), size)
        }
        settle(members)
        const taken = sum(members.map((member) => member.taken()))
        assert.isAtMost(taken, size)
        assert.strictEqual(pool.free(), size - taken)
        if (members.some((member) => member.wants() > 0)) assert.strictEqual(taken, size)
      }
    }).pipe(Effect.scoped)
  )
})
