/**
 * Slots that several stacks of a process share fairly.
 *
 * **When to use**
 *
 * `Stacks.run` makes a pool for its queues. Make your own for stacks that you start one by one, for example with different runners.
 *
 * **Details**
 *
 * A free slot goes to the stack with the fewest slots relative to its weight, among those that have a job for it. So a stack without
 * jobs leaves its share to the others, and gets it back as their jobs end. Running jobs are never stopped.
 *
 * A stack with jobs always gets slots eventually. If shares are not whole slots, for example with fewer slots than stacks, the stacks
 * take turns; a larger share gets more turns.
 *
 * A slot counts as taken while a job holds it, and while it is kept for a reserved job that waits for its start. A job that only waits
 * until the service accepts its finish holds no slot.
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
 * What a pool needs to know about a member, such as a stack.
 *
 * @since 0.1.0
 * @category models
 */
export interface Member {
  /** Its share relative to the other members', from a millionth to a million. */
  readonly weight: number
  /** How many slots it has. */
  readonly taken: () => number
  /** How many more slots it could use. */
  readonly wanted: () => number
  /** Called when there may be slots for the member. Must return at once. */
  readonly wake: () => void
  /** The amounts that its jobs hold of the pool's capacity. Default: none. */
  readonly amounts?: AmountsOfMember | undefined
}

/**
 * What a pool needs to know about the amounts of a member's jobs.
 *
 * @since 0.2.0
 * @category models
 */
export interface AmountsOfMember {
  /** The amounts that its jobs hold now, by name. */
  readonly held: () => Readonly<Record<string, number>>
  /** The job that has waited longest for amounts, if it has waited for `agingTime`. Freed amounts are kept for it. */
  readonly aged: () =>
    | { readonly jobUuid: string; readonly requests: Readonly<Record<string, number>>; readonly since: number }
    | undefined
  /** Whether jobs wait for amounts. If so, {@link Member.wake} is called when other members return amounts. */
  readonly isWaiting: () => boolean
}

/**
 * The free part of a pool's capacity, as one member sees it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Room {
  /** Why a job can never run here: it needs more than the whole capacity. */
  readonly exceeded: (requests: Readonly<Record<string, number>>) => string | undefined
  /** Whether a job fits into the amounts that are neither held nor kept for another job. */
  readonly fits: (jobUuid: string, requests: Readonly<Record<string, number>>) => boolean
  /** Whether jobs hold more than the capacity of an amount that this job takes too. */
  readonly isOverdrawn: (requests: Readonly<Record<string, number>>) => boolean
  /** Takes a job's amounts out of this room. */
  readonly take: (jobUuid: string, requests: Readonly<Record<string, number>>) => void
  /** Changes if the free amounts change. */
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
  /** Call this when the member has or wants a different number of slots. Other members may get the slots that it leaves. */
  readonly update: () => void
  /** The free part of the capacity. */
  readonly room: () => Room
}

/**
 * Shared slots.
 *
 * @since 0.1.0
 * @category models
 */
export interface SlotPool {
  /** The number of slots. */
  readonly size: () => number
  /** The number of free slots. Negative if more slots are taken than there are. */
  readonly free: () => number
  /** Changes the number of slots. No running job is stopped; if more slots are taken than remain, no job starts until enough are free. */
  readonly setSize: (count: number) => Effect.Effect<void, InvalidOptions>
  /** The capacity of each amount that jobs take, by name. */
  readonly capacity: () => Readonly<Record<string, number>>
  /** The amounts that jobs hold, by name. */
  readonly held: () => Readonly<Record<string, number>>
  /** Changes the capacity. No running job is stopped; if more is taken than remains, no job starts until enough is free. */
  readonly setCapacity: (capacity: Readonly<Record<string, number>>) => Effect.Effect<void, InvalidOptions>
  /** Joins the pool until the scope closes. A stack with the option `pool` does this itself. */
  readonly join: (member: Member) => Effect.Effect<Membership, never, Scope.Scope>
}

/**
 * Options of a pool.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /**
   * How much there is of each amount that jobs take by the stacks' option `requests`, for example `{ cpus: 8, memoryGB: 32 }`. An
   * amount without a name here is unlimited. Default: none.
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
      /** The members that want slots. The work of a change grows with their number, not with that of all members. */
      const wanting = new Set<Joined>()
      let size = initial
      let taken = 0

      const free = () => size - taken

      /** Records what a member has and wants. Returns whether that has changed. */
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

      /** Wakes the members that may take slots or amounts now. A member that calls the pool is not woken by its own call. */
      const wake = (asking?: Joined) => {
        shared.wakeWaiting(asking)
        if (free() <= 0 || wanting.size === 0) return
        for (const joined of share()) if (joined.given > 0 && joined !== asking) joined.member.wake()
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
        // The slots that the member leaves may now go to another member, which may have asked before and got nothing.
        if (isNews || allowed > 0) wake(joined)
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
              if (members.has(joined) && look(joined)) wake(joined)
            },
            room: () => Amounts.room(shared.capacity, shared.amounts())
          }))
      }
    }
  )

/** The capacity of a pool, and the amounts that its members hold. */
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

  /** Wakes members whose jobs wait for amounts, not for slots. */
  wakeWaiting(asking: Joined | undefined): void {
    if (Object.keys(this.capacity).length === 0) return
    for (const joined of this.#members) {
      if (joined !== asking && joined.member.amounts?.isWaiting() === true) joined.member.wake()
    }
  }
}

const holdsNothing: AmountsOfMember = { held: () => Amounts.none, aged: () => undefined, isWaiting: () => false }

const slots = (count: number): Effect.Effect<number, InvalidOptions> => Check.count("count", count, 0)

/** A weight of zero would be no share, and an infinite one would leave nothing to others. */
const weightOf = (weight: number): number => (Number.isNaN(weight) ? 1 : Math.min(1e6, Math.max(1e-6, weight)))

interface Joined extends Claim {
  readonly member: Member
}
