/** The placement of leaders: which member should lead which queue. */
import type { Member, QueueRow } from "./storage.ts"

type Candidate = Pick<Member, "id" | "phase" | "stackKeys">

/**
 * Every member that lists a queue may lead it. A queue stays with its leader, unless another member that lists it leads at least two
 * fewer. The result is the same on every process for the same rows.
 */
export const place = (
  members: ReadonlyArray<Candidate>,
  queues: ReadonlyArray<Pick<QueueRow, "stackKey" | "leader">>
): ReadonlyMap<string, number> => {
  const open = members.filter(({ phase }) => phase === "open").toSorted((a, b) => a.id - b.id)
  const loads = new Map(open.map(({ id }) => [id, 0]))
  const loadOf = (id: number) => loads.get(id) ?? 0
  const candidatesOf = new Map(
    queues.map(({ stackKey }) => [
      stackKey,
      open.filter(({ stackKeys }) => stackKeys.includes(stackKey)).map(({ id }) => id)
    ])
  )
  const placed = new Map<string, number>()
  const assign = (stackKey: string, id: number) => {
    const before = placed.get(stackKey)
    if (before !== undefined) loads.set(before, loadOf(before) - 1)
    placed.set(stackKey, id)
    loads.set(id, loadOf(id) + 1)
  }
  const leastLoaded = (ids: ReadonlyArray<number>) =>
    ids.reduce<number | undefined>(
      (least, id) => (least === undefined || loadOf(id) < loadOf(least) ? id : least),
      undefined
    )

  const sorted = queues.toSorted((a, b) => (a.stackKey < b.stackKey ? -1 : 1))
  for (const { leader, stackKey } of sorted) {
    if (leader !== null && candidatesOf.get(stackKey)?.includes(leader) === true) assign(stackKey, leader)
  }
  const unplaced = sorted
    .filter(({ stackKey }) => !placed.has(stackKey))
    // Those with the fewest candidates first: the others can go elsewhere.
    .toSorted((a, b) => (candidatesOf.get(a.stackKey)?.length ?? 0) - (candidatesOf.get(b.stackKey)?.length ?? 0))
  for (const { stackKey } of unplaced) {
    const id = leastLoaded(candidatesOf.get(stackKey) ?? [])
    if (id !== undefined) assign(stackKey, id)
  }
  // Each move makes the loads more even, so this ends.
  const move = (): boolean =>
    sorted.some(({ stackKey }) => {
      const from = placed.get(stackKey)
      const to = leastLoaded(candidatesOf.get(stackKey) ?? [])
      if (from === undefined || to === undefined || loadOf(from) - loadOf(to) < 2) return false
      assign(stackKey, to)
      return true
    })
  while (move());
  return placed
}
