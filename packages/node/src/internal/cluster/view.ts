/** The cluster, as this process saw it last: the members, the slots of each queue, and who should claim the next jobs. */
import { allocateAmong } from "./allocation.ts"
import { Hint } from "./hints.ts"
import type { Member, Snapshot } from "./storage.ts"

/** A member that is silent for longer, in milliseconds, gets no hints: it may be dead. A hint to another one costs nothing, so this is short. */
const maxSilenceOfHinted = 1500

export class View {
  #members: ReadonlyArray<Member> = []
  #leaders: ReadonlyMap<string, number> = new Map()
  #turn = 0
  /** The free slots of each member, less the jobs that leaders of this process have hinted to it since. */
  readonly #free = new Map<number, number>()

  update({ members, queues, turn }: Snapshot): void {
    this.#members = members.filter(({ expiresInMillis }) => expiresInMillis > 0)
    this.#leaders = new Map(
      queues.flatMap(({ leader, stackKey }) => (leader === null ? [] : [[stackKey, leader] as const]))
    )
    this.#turn = turn
    this.#free.clear()
    for (const { free, id } of this.#members) this.#free.set(id, free)
  }

  /** The members that are alive. */
  get members(): ReadonlyArray<Member> {
    return this.#members
  }

  /** How many slots a queue may use, which could use `wanted` now. */
  allocationOf(stackKey: string, wanted: number): number {
    const demands = this.#members.flatMap(({ demands, id }) =>
      Object.entries(demands).flatMap(([key, wanted]) =>
        this.#leaders.get(key) === id && key !== stackKey ? [{ stackKey: key, wanted }] : []
      )
    )
    const open = this.#members.filter(({ phase }) => phase === "open")
    return allocateAmong(open, [...demands, { stackKey, wanted }], this.#turn).get(stackKey) ?? 0
  }

  /** Divides jobs among the members with the most free slots. */
  hint(stackKey: string, count: number): Hint {
    const candidates = this.#members.filter(
      ({ phase, silentMillis, stackKeys }) =>
        phase === "open" && silentMillis <= maxSilenceOfHinted && stackKeys.includes(stackKey)
    )
    const counts = new Map<number, number>()
    for (let job = 0; job < count; job++) {
      const best = candidates.reduce<Member | undefined>(
        (best, member) => (best === undefined || this.#load(member) < this.#load(best) ? member : best),
        undefined
      )
      if (best === undefined) break
      this.#free.set(best.id, this.#freeOf(best.id) - 1)
      counts.set(best.id, (counts.get(best.id) ?? 0) + 1)
    }
    return Hint.Claim({ counts })
  }

  /** A job of this process's queues has ended there. */
  freed(memberId: number): void {
    this.#free.set(memberId, this.#freeOf(memberId) + 1)
  }

  /** The member that looks a moment later for what this one was told to claim: the next one by id, in a ring. */
  deputyOf(memberId: number): number | undefined {
    const ids = this.#members.filter(({ phase }) => phase === "open").map(({ id }) => id)
    return ids.find((id) => id > memberId) ?? ids[0]
  }

  /** The part of all free slots that a member with this many has, so that no member takes all jobs just because it looks first. */
  shareOf(memberId: number, free: number): number {
    const others = this.#members.reduce(
      (sum, { id, phase }) => (id === memberId || phase !== "open" ? sum : sum + Math.max(0, this.#freeOf(id))),
      0
    )
    return free / (free + others)
  }

  #freeOf(id: number): number {
    return this.#free.get(id) ?? 0
  }

  /** The part of its slots that would be taken with one job more. */
  #load({ id, slots }: Member): number {
    return (slots - this.#freeOf(id) + 1) / slots
  }
}
