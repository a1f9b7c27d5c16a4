/** The placement of leaders: which member should lead which queue. */
import type { Member, QueueRow } from "./storage.ts"

type Candidate = Pick<Member, "id" | "phase" | "stackKeys" | "silentMillis">

/** A member that is silent for longer, in milliseconds, may be dead: it is given no queue. A queue moves at a cost, so this waits for two heartbeats. */
const maxSilenceOfLeader = 2000

/**
 * Every open member that lists a queue may lead it. If there is none, those that leave may: the outcomes of their last jobs are sent. A
 * queue stays with its leader, unless another member that lists it leads at least two
 * fewer. Among equals a hash decides: the oldest member may be the next one to be stopped, and the youngest one may fail again and
 * again. The result is the same on every process for the same rows.
 */
export const place = (
  members: ReadonlyArray<Candidate>,
  queues: ReadonlyArray<Pick<QueueRow, "stackKey" | "leader">>
): ReadonlyMap<string, number> => {
  const byId = members.toSorted((a, b) => a.id - b.id)
  const loads = new Map(byId.map(({ id }) => [id, 0]))
  const loadOf = (id: number) => loads.get(id) ?? 0
  const candidatesOf = new Map(
    queues.map(({ stackKey }) => {
      const listing = byId.filter(({ stackKeys }) => stackKeys.includes(stackKey))
      const open = listing.filter(({ phase }) => phase === "open")
      return [stackKey, (open.length > 0 ? open : listing).map(({ id }) => id)]
    })
  )
  const placed = new Map<string, number>()
  const assign = (stackKey: string, id: number) => {
    const before = placed.get(stackKey)
    if (before !== undefined) loads.set(before, loadOf(before) - 1)
    placed.set(stackKey, id)
    loads.set(id, loadOf(id) + 1)
  }
  const silent = new Set(byId.filter(({ silentMillis }) => silentMillis > maxSilenceOfLeader).map(({ id }) => id))
  const leastLoaded = (stackKey: string) => {
    const ids = candidatesOf.get(stackKey) ?? []
    const lively = ids.filter((id) => !silent.has(id))
    return (lively.length > 0 ? lively : ids).reduce<number | undefined>((least, id) => {
      if (least === undefined) return id
      const difference = loadOf(id) - loadOf(least) || hash(`${stackKey} ${id}`) - hash(`${stackKey} ${least}`)
      return difference < 0 ? id : least
    }, undefined)
  }

  const sorted = queues.toSorted((a, b) => (a.stackKey < b.stackKey ? -1 : 1))
  for (const { leader, stackKey } of sorted) {
    if (leader !== null && candidatesOf.get(stackKey)?.includes(leader) === true) assign(stackKey, leader)
  }
  const unplaced = sorted
    .filter(({ stackKey }) => !placed.has(stackKey))
    // Those with the fewest candidates first: the others can go elsewhere.
    .toSorted((a, b) => (candidatesOf.get(a.stackKey)?.length ?? 0) - (candidatesOf.get(b.stackKey)?.length ?? 0))
  for (const { stackKey } of unplaced) {
    const id = leastLoaded(stackKey)
    if (id !== undefined) assign(stackKey, id)
  }
  // Each move makes the loads more even, so this ends.
  const move = (): boolean =>
    sorted.some(({ stackKey }) => {
      const from = placed.get(stackKey)
      const to = leastLoaded(stackKey)
      if (from === undefined || to === undefined || loadOf(from) - loadOf(to) < 2) return false
      assign(stackKey, to)
      return true
    })
  while (move());
  return placed
}

/** FNV-1a, and not the hash of a library, because processes of different versions must compute the same placement. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0
  return value
}
