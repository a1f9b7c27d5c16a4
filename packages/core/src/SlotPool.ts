/**
 * Slots that several stacks of a process share fairly.
 *
 * **When to use**
 *
 * `Stacks.run` makes a pool for its queues. Make your own for stacks that you start one by one, for example with different runners.
 *
 * **Details**
 *
 * A free slot goes to the stack that has the fewest slots for its weight, among those that have a job for it. So a stack with
 * nothing to do leaves its share to the others, and gets it back as their jobs end. No job is stopped for it.
 *
 * A stack with jobs is never starved. Where shares are not whole slots, for example with fewer slots than stacks, the stacks take
 * turns; a larger share gets more turns.
 *
 * A slot counts as taken while a job holds it, and while it is kept for a job that is reserved and waits to be started. A job that
 * only waits until the service accepts its finish holds no slot.
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
import * as Amounts from "./internal/amounts.ts"
import * as Check from "./internal/options.ts"
import { type Claim, divide, settle } from "./internal/stack/fairShare.ts"
import type { InvalidOptions } from "./StacksError.ts"

/**
 * What a pool asks of a member, such as a stack.
 *
 * @since 0.1.0
 * @category models
 */
export interface Member {
  /** Its share compared to the others', from a millionth to a million. */
  readonly weight: number
  /** How many slots it has now. */
  readonly taken: () => number
  /** How many more it could use now. */
  readonly wanted: () => number
  /** Called when there may be slots for it. It must return at once. */
  readonly wake: () => void
  /** What its jobs hold of the pool's capacity. Default nothing. */
  readonly amounts?: AmountsOfMember | undefined
}

/**
 * What a pool asks of a member about the amounts of its jobs.
 *
 * @since 0.2.0
 * @category models
 */
export interface AmountsOfMember {
  /** What its jobs hold now, by name. */
  readonly held: () => Readonly<Record<string, number>>
  /** The job that has waited longest for amounts, of those that have waited for `agingTime`. Freed amounts are kept for it. */
  readonly aged: () =>
    | { readonly jobUuid: string; readonly requests: Readonly<Record<string, number>>; readonly since: number }
    | undefined
  /** Whether jobs wait for amounts. Then {@link Member.wake} is called when others return theirs. */
  readonly isWaiting: () => boolean
}

/**
 * What is free of a pool's capacity, as one member finds it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Room {
  /** Why a job can never run here: it needs more than the capacity. */
  readonly exceeded: (requests: Readonly<Record<string, number>>) => string | undefined
  /** Whether a job fits into what is neither held nor kept for another job. */
  readonly fits: (jobUuid: string, requests: Readonly<Record<string, number>>) => boolean
  /** Whether jobs hold more than there is of an amount that this job takes, too. */
  readonly isOverdrawn: (requests: Readonly<Record<string, number>>) => boolean
  /** Takes a job's amounts out of this room. */
  readonly take: (jobUuid: string, requests: Readonly<Record<string, number>>) => void
  /** Differs where what is free differs. */
  readonly signature: string
}

/**
 * A stack's membership of a pool.
 *
 * @since 0.1.0
 * @category models
 */
export interface Membership {
  /** Takes up to `count` slots, and returns how many it got. They count as taken until {@link Membership.update}. */
  readonly take: (count: number) => number
  /** Call this when the member has or wants more or fewer slots than before. Other members may get what it leaves. */
  readonly update: () => void
  /** What is free of the capacity now. */
  readonly room: () => Room
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
  /** How many slots are free. Negative if there are fewer slots than are taken. */
  readonly free: () => number
  /** Changes the number of slots. If fewer remain than are taken, no job is stopped, and none starts until enough are free. */
  readonly setSize: (count: number) => Effect.Effect<void, InvalidOptions>
  /** How much there is of each amount that jobs take, by name. */
  readonly capacity: () => Readonly<Record<string, number>>
  /** What jobs hold of it, by name. */
  readonly held: () => Readonly<Record<string, number>>
  /** Changes the capacity. If less remains than is taken, no job is stopped, and none starts until enough is free. */
  readonly setCapacity: (capacity: Readonly<Record<string, number>>) => Effect.Effect<void, InvalidOptions>
  /** Joins the pool until the scope closes. A stack with the option `pool` does this by itself. */
  readonly join: (member: Member) => Effect.Effect<Membership, never, Scope.Scope>
}

/**
 * What a pool has besides slots.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /**
   * How much there is of each amount that jobs take by the stacks' option `requests`, for example `{ cpus: 8, memoryGB: 32 }`. An
   * amount that is not named here is unlimited. Default none.
   */
  readonly capacity?: Readonly<Record<string, number>> | undefined
}

/**
 * Makes a pool with this number of slots: a whole number, 0 or more.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (count: number, options: Options = {}): Effect.Effect<SlotPool, InvalidOptions> =>
  Effect.map(
    Effect.all([slots(count), Check.amounts("capacity", options.capacity ?? {})]),
    ([initial, initialCapacity]) => {
      const members = new Set<Joined>()
      /** Those who want slots: what there is to do grows with their number, not with that of the members. */
      const wanting = new Set<Joined>()
      let size = initial
      let taken = 0

      const free = () => size - taken

      /** Takes note of what a member has and wants; says whether that is news. */
      const note = (joined: Joined, has: number, wants: number): boolean => {
        const wanted = Math.max(0, wants)
        const isNews = has !== joined.taken || wanted !== joined.wanted
        taken += has - joined.taken
        joined.taken = has
        joined.wanted = wanted
        if (wanted > 0) wanting.add(joined)
        else wanting.delete(joined)
        return isNews
      }
      const look = (joined: Joined) => note(joined, joined.member.taken(), joined.member.wanted())

      const share = () => {
        const claims = Array.from(wanting)
        divide(free(), claims)
        return claims
      }

      const shared = new SharedCapacity(initialCapacity, members)

      const wake = () => {
        shared.wakeWaiting()
        if (free() <= 0 || wanting.size === 0) return
        for (const { given, member } of share()) if (given > 0) member.wake()
      }

      const take = (joined: Joined, count: number): number => {
        const isNews = look(joined)
        if (free() <= 0) return 0
        const claims = share()
        const allowed = joined.wanted === 0 ? 0 : Math.min(count, joined.given)
        if (allowed > 0) {
          if (joined.isItsTurn && allowed === joined.given) settle(joined, claims)
          note(joined, joined.taken + allowed, joined.wanted - allowed)
        }
        // What it leaves is somebody else's now, perhaps of one who asked before and got nothing.
        if (isNews || allowed > 0) wake()
        return allowed
      }

      const join = (member: Member) =>
        Effect.sync(() => {
          const joined: Joined = {
            member,
            taken: 0,
            wanted: 0,
            weight: weightOf(member.weight),
            deficit: 0,
            given: 0,
            chance: 0,
            isItsTurn: false
          }
          members.add(joined)
          look(joined)
          return joined
        })

      const leave = (joined: Joined) =>
        Effect.sync(() => {
          note(joined, 0, 0)
          members.delete(joined)
          wake()
        })

      return {
        size: () => size,
        free,
        setSize: (count) =>
          Effect.map(slots(count), (checked) => {
            size = checked
            wake()
          }),
        capacity: () => shared.capacity,
        held: () => Amounts.sum(shared.amounts().map(({ held }) => held())),
        setCapacity: (changed) =>
          Effect.map(Check.amounts("capacity", changed), (checked) => {
            shared.capacity = checked
            wake()
          }),
        join: (member) =>
          Effect.map(Effect.acquireRelease(join(member), leave), (joined) => ({
            take: (count) => (members.has(joined) ? take(joined, count) : 0),
            update: () => {
              if (members.has(joined) && look(joined)) wake()
            },
            room: () => Amounts.room(shared.capacity, shared.amounts())
          }))
      }
    }
  )

/** The capacity of a pool, and what its members hold of it. */
class SharedCapacity {
  capacity: Amounts.Amounts
  readonly #members: ReadonlySet<Joined>

  constructor(capacity: Amounts.Amounts, members: ReadonlySet<Joined>) {
    this.capacity = capacity
    this.#members = members
  }

  amounts(): ReadonlyArray<AmountsOfMember> {
    return Array.from(this.#members, ({ member }) => member.amounts ?? holdsNothing)
  }

  /** For members whose jobs wait for amounts, not for slots. */
  wakeWaiting(): void {
    if (Object.keys(this.capacity).length === 0) return
    for (const { member } of this.#members) if (member.amounts?.isWaiting() === true) member.wake()
  }
}

const holdsNothing: AmountsOfMember = { held: () => Amounts.none, aged: () => undefined, isWaiting: () => false }

const slots = (count: number): Effect.Effect<number, InvalidOptions> => Check.count("count", count, 0)

/** A share of nothing would be no share, and one of everything would leave none. */
const weightOf = (weight: number): number => (Number.isNaN(weight) ? 1 : Math.min(1e6, Math.max(1e-6, weight)))

interface Joined extends Claim {
  readonly member: Member
}
