/** The cluster as the leaders of this process see it: how many slots each queue may use, and who is sent the next job. */
import type { Demand } from "./queues.ts"
import type { Process } from "./roster.ts"
import { share } from "./shares.ts"

export interface Processes {
  /** Notes who is there, what the queues want, and whose turn it is. */
  readonly update: (processes: ReadonlyArray<Process>, demands: ReadonlyArray<Demand>, turn: number) => void
  readonly all: () => ReadonlyArray<Process>
  /** How many of the slots to which jobs can be sent a queue may use. */
  readonly shareOf: (own: Demand) => number
  readonly find: (seat: number) => Process | undefined
  /** The seat with the largest share of free slots; undefined where nobody takes jobs. */
  readonly choose: () => number | undefined
  /** Whether all slots are taken at a seat, and not at another one. */
  readonly isOverfull: (seat: number) => boolean
  /** Counts a job as one of the seat, until it is released. */
  readonly occupy: (seat: number) => () => void
}

export const make = (): Processes => {
  let processes: ReadonlyArray<Process> = []
  let demands: ReadonlyArray<Demand> = []
  let turn = 0
  /** Jobs that leaders of this process have at each seat. */
  const ours = new Map<number, number>()
  /** Those of the other leaders, when the processes were looked at last. */
  let others: ReadonlyMap<number, number> = new Map()
  let chosen = 0

  const isOpen = ({ phase }: Process) => phase === "open"
  const taken = (seat: number) => (ours.get(seat) ?? 0) + (others.get(seat) ?? 0)
  const hasFreeSlot = ({ seat, slots }: Process) => taken(seat) < slots

  return {
    update: (living, led, now) => {
      processes = living
      demands = led
      turn = now
      others = new Map(living.map(({ running, seat }) => [seat, Math.max(0, running - (ours.get(seat) ?? 0))]))
    },
    all: () => processes,
    shareOf: (own) => {
      const slots = processes.reduce((sum, process) => (isOpen(process) ? sum + process.slots : sum), 0)
      const others = demands.filter(({ stackKey }) => stackKey !== own.stackKey)
      return share(slots, [...others, own], turn).get(own.stackKey) ?? 0
    },
    find: (seat) => processes.find((process) => process.seat === seat),
    choose: () => {
      const open = processes.filter(isOpen)
      const load = ({ seat, slots }: Process) => (taken(seat) + 1) / slots
      const least = Math.min(...open.map(load))
      const best = open.filter((process) => load(process) === least)
      // In turn: all leaders begin with none.
      return best[chosen++ % best.length]?.seat
    },
    isOverfull: (seat) => {
      const process = processes.find((process) => process.seat === seat)
      return (
        process !== undefined &&
        taken(seat) > process.slots &&
        processes.some((other) => other !== process && isOpen(other) && hasFreeSlot(other))
      )
    },
    occupy: (seat) => {
      ours.set(seat, (ours.get(seat) ?? 0) + 1)
      return () => void ours.set(seat, (ours.get(seat) ?? 0) - 1)
    }
  }
}
