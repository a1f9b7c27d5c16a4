/** The members of the cluster as the leaders of this process see them: the slots of each queue, and the member for the next job. */
import { allocate } from "./allocation.ts"
import type { Member } from "./members.ts"
import type { Demand } from "./queues.ts"

export interface MemberTable {
  /** Replaces the members, the demands of the queues, and the turn of the allocation. */
  readonly update: (members: ReadonlyArray<Member>, demands: ReadonlyArray<Demand>, turn: number) => void
  readonly all: () => ReadonlyArray<Member>
  /** How many of the slots of open members a queue may use. */
  readonly allocationOf: (own: Demand) => number
  readonly find: (memberId: number) => Member | undefined
  /** The member with the largest fraction of free slots; undefined if no member takes jobs. */
  readonly choose: () => number | undefined
  /** Whether a member has more jobs than slots while another member has a free slot. */
  readonly isOverbooked: (memberId: number) => boolean
  /** Counts a job of the member until the returned function is called. */
  readonly occupy: (memberId: number) => () => void
}

export const make = (): MemberTable => {
  let members: ReadonlyArray<Member> = []
  let demands: ReadonlyArray<Demand> = []
  let turn = 0
  /** Jobs that leaders of this process have at each member. */
  const ours = new Map<number, number>()
  /** Jobs of the other leaders, as of the last update. */
  let others: ReadonlyMap<number, number> = new Map()
  let chosen = 0

  const isOpen = ({ phase }: Member) => phase === "open"
  const taken = (memberId: number) => (ours.get(memberId) ?? 0) + (others.get(memberId) ?? 0)
  const hasFreeSlot = ({ memberId, slots }: Member) => taken(memberId) < slots

  return {
    update: (newMembers, newDemands, newTurn) => {
      members = newMembers
      demands = newDemands
      turn = newTurn
      others = new Map(
        members.map(({ memberId, running }) => [memberId, Math.max(0, running - (ours.get(memberId) ?? 0))])
      )
    },
    all: () => members,
    allocationOf: (own) => {
      const slots = members.reduce((sum, member) => (isOpen(member) ? sum + member.slots : sum), 0)
      const others = demands.filter(({ stackKey }) => stackKey !== own.stackKey)
      return allocate(slots, [...others, own], turn).get(own.stackKey) ?? 0
    },
    find: (memberId) => members.find((member) => member.memberId === memberId),
    choose: () => {
      const open = members.filter(isOpen)
      const load = ({ memberId, slots }: Member) => (taken(memberId) + 1) / slots
      const least = Math.min(...open.map(load))
      const best = open.filter((member) => load(member) === least)
      // Round robin: all leaders start without jobs.
      return best[chosen++ % best.length]?.memberId
    },
    isOverbooked: (memberId) => {
      const member = members.find((member) => member.memberId === memberId)
      return (
        member !== undefined &&
        taken(memberId) > member.slots &&
        members.some((other) => other !== member && isOpen(other) && hasFreeSlot(other))
      )
    },
    occupy: (memberId) => {
      ours.set(memberId, (ours.get(memberId) ?? 0) + 1)
      return () => void ours.set(memberId, (ours.get(memberId) ?? 0) - 1)
    }
  }
}
