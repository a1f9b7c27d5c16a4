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
