/** The allocation of slots to queues. */

export interface Demand {
  readonly stackKey: string
  /** How many slots the queue could use now. */
  readonly wanted: number
}

/**
 * Allocates slots by max-min fairness. If they can't be divided evenly, some queues get one more, in rotation by `turn`. Slots that
 * no queue wants are divided in the same way, so that a queue that gets jobs need not wait for an allocation. The result is the same
 * on every process for the same arguments.
 */
export const allocate = (slots: number, demands: ReadonlyArray<Demand>, turn: number): ReadonlyMap<string, number> => {
  const byDemand = demands.toSorted((a, b) => a.wanted - b.wanted)
  const allocations = new Map<string, number>()
  let left = slots
  const firstShort = byDemand.findIndex(({ stackKey, wanted }, index) => {
    if (wanted * (byDemand.length - index) > left) return true
    allocations.set(stackKey, wanted)
    left -= wanted
    return false
  })
  // The queues whose demand can't be met; or all queues, for the slots that none wants.
  const rest = (firstShort < 0 ? byDemand : byDemand.slice(firstShort)).map(({ stackKey }) => stackKey).sort()
  const portion = Math.floor(left / rest.length)
  const remainder = left - portion * rest.length
  rest.forEach((stackKey, index) => {
    const isItsTurn = (index + rest.length - ((turn * remainder) % rest.length)) % rest.length < remainder
    allocations.set(stackKey, (allocations.get(stackKey) ?? 0) + portion + (isItsTurn ? 1 : 0))
  })
  return allocations
}

/** Slots for the jobs of some queues: those of a process, with its list of queues. */
export interface Pool {
  readonly slots: number
  readonly stackKeys: ReadonlyArray<string>
}

/**
 * The same where processes list different queues: a queue gets slots only of the processes that list it, and the others divide what it
 * can't use.
 */
export const allocateAmong = (
  pools: ReadonlyArray<Pool>,
  demands: ReadonlyArray<Demand>,
  turn: number
): ReadonlyMap<string, number> => {
  const groups = groupsOf(pools, demands)
  if (groups.every(({ stackKeys }) => stackKeys.length === demands.length)) {
    return allocate(
      groups.reduce((sum, { free }) => sum + free, 0),
      demands,
      turn
    )
  }
  const keys = demands.map(({ stackKey }) => stackKey).sort()
  const order = new Map(keys.map((key, index) => [key, (index + keys.length - (turn % keys.length)) % keys.length]))
  const inOrder = demands.toSorted((a, b) => (order.get(a.stackKey) ?? 0) - (order.get(b.stackKey) ?? 0))
  const allocations = new Map<string, number>()
  // First the slots that queues want, then those that none wants.
  for (const isWanted of [true, false]) {
    const given = new Map<string, number>()
    let open = inOrder
    while (open.length > 0) {
      const [first, ...others] = open
      const next = others.reduce(
        (least, each) => ((given.get(each.stackKey) ?? 0) < (given.get(least?.stackKey ?? "") ?? 0) ? each : least),
        first
      )
      if (next === undefined) break
      const { stackKey, wanted } = next
      const count = given.get(stackKey) ?? 0
      if ((isWanted && count >= wanted) || !giveSlot(groups, stackKey)) {
        open = open.filter((each) => each !== next)
        continue
      }
      given.set(stackKey, count + 1)
      allocations.set(stackKey, (allocations.get(stackKey) ?? 0) + 1)
    }
  }
  return allocations
}

/** Processes that list the same of these queues, and the slots of each queue there. */
interface Group {
  readonly stackKeys: ReadonlyArray<string>
  free: number
  readonly used: Map<string, number>
}

const groupsOf = (pools: ReadonlyArray<Pool>, demands: ReadonlyArray<Demand>): ReadonlyArray<Group> => {
  const groups = new Map<string, Group>()
  for (const pool of pools) {
    const stackKeys = demands.map(({ stackKey }) => stackKey).filter((stackKey) => pool.stackKeys.includes(stackKey))
    const id = stackKeys.toSorted().join(" ")
    const group = groups.get(id) ?? { stackKeys, free: 0, used: new Map() }
    if (stackKeys.length > 0) groups.set(id, group)
    group.free += pool.slots
  }
  return Array.from(groups.values())
}

/** Gives a queue one slot more, if need be by moving slots of other queues to other groups. Whether there was one. */
const giveSlot = (groups: ReadonlyArray<Group>, stackKey: string, visited = new Set<Group>()): boolean => {
  const take = (group: Group) => {
    group.used.set(stackKey, (group.used.get(stackKey) ?? 0) + 1)
    return true
  }
  const own = groups.filter((group) => group.stackKeys.includes(stackKey) && !visited.has(group))
  const free = own.find((group) => group.free > 0)
  if (free !== undefined) {
    free.free--
    return take(free)
  }
  for (const group of own) {
    visited.add(group)
    for (const [other, count] of group.used) {
      if (other === stackKey || count === 0 || !giveSlot(groups, other, visited)) continue
      group.used.set(other, count - 1)
      return take(group)
    }
  }
  return false
}
