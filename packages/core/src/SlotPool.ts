/**
 * Slots that several stacks of a process share, each with a fair share of them.
 *
 * **Details**
 *
 * A free slot goes to the stack that has the fewest for its weight, of those that have a job for it. So a stack that has
 * nothing to do leaves its share to the others, and gets it back as their jobs end: none is stopped for it. A stack with jobs
 * is never starved: where there are fewer slots than stacks, they take turns.
 *
 * {@link Stacks.run} makes a pool for its queues. A pool of one's own is for stacks that are started one by one.
 *
 * **Example** (Two stacks on ten slots)
 *
 * ```ts
 * import { SlotPool, Stack } from "@stacksapi/core"
 * import { Effect } from "effect"
 *
 * export const program = Effect.gen(function* () {
 *   const pool = yield* SlotPool.make(10)
 *   const linux = Stack.run({ key: "ci-linux", queueKey: "linux", pool })
 *   const mac = Stack.run({ key: "ci-mac", queueKey: "mac", pool, weight: 2 })
 *   return yield* Effect.all([linux, mac], { concurrency: 2 })
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { divide } from "./internal/stack/fairShare.ts"
import { slots } from "./internal/stack/settings.ts"

/**
 * One who takes slots, as the pool sees it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Member {
  /** Its share compared to the others'; above 0. */
  readonly weight: number
  /** The slots that it has now. */
  readonly taken: () => number
  /** How many more it could use now. */
  readonly wanted: () => number
  /** Told when there may be slots for it. */
  readonly wake: () => void
}

/**
 * A member's place in a pool.
 *
 * @since 0.1.0
 * @category models
 */
export interface Seat {
  /** How many slots, of so many that are asked for, the member may take now; what it takes shows in its `taken` at once. */
  readonly take: (count: number) => number
  /** To be called when the member has or wants fewer slots than before: the others may get them. */
  readonly changed: () => void
}

/**
 * Slots that are shared.
 *
 * @since 0.1.0
 * @category models
 */
export interface SlotPool {
  /** How many slots there are. */
  readonly size: () => number
  /** How many are free; fewer than none after there were made fewer than are taken. */
  readonly free: () => number
  /** Changes their number. Fewer than are taken: nothing is stopped, and nothing new starts until enough are free. */
  readonly setSize: (count: number) => Effect.Effect<void>
  /** Joins until the scope closes. Stacks do that by themselves. */
  readonly join: (member: Member) => Effect.Effect<Seat, never, Scope.Scope>
}

/**
 * A pool of so many slots.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (count: number): Effect.Effect<SlotPool> =>
  Effect.sync(() => {
    const members = new Set<Joined>()
    let size = slots(count)
    let served = 0

    const free = () => {
      let taken = 0
      for (const { member } of members) taken += member.taken()
      return size - taken
    }

    /** Who may take how many now. */
    const allowances = () => {
      const all = Array.from(members)
      const claims = all.map(({ member, servedAt }) => ({
        taken: member.taken(),
        wanted: Math.max(0, member.wanted()),
        weight: member.weight,
        servedAt
      }))
      return { all, given: divide(free(), claims) }
    }

    const wake = () => {
      const { all, given } = allowances()
      for (const [index, { member }] of all.entries()) {
        if ((given[index] ?? 0) > 0) member.wake()
      }
    }

    return {
      size: () => size,
      free,
      setSize: (count) =>
        Effect.sync(() => {
          size = slots(count)
          wake()
        }),
      join: (member) =>
        Effect.map(
          Effect.acquireRelease(
            Effect.sync(() => {
              const joined: Joined = { member, servedAt: 0 }
              members.add(joined)
              return joined
            }),
            (joined) =>
              Effect.sync(() => {
                members.delete(joined)
                wake()
              })
          ),
          (joined) => ({
            take: (count) => {
              const { all, given } = allowances()
              const allowed = Math.min(count, given[all.indexOf(joined)] ?? 0)
              if (allowed > 0) joined.servedAt = ++served
              return allowed
            },
            changed: wake
          })
        )
    }
  })

interface Joined {
  readonly member: Member
  servedAt: number
}
