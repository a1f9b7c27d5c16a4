/** How many slots each queue may use. */
import type { Demand } from "./queues.ts"

/**
 * Shares slots so that nobody who gets less than wanted gets less than somebody else. What is left over when all have what
 * they want is shared as well: a queue that wakes up need not wait for its first jobs.
 */
export const share = (slots: number, demands: ReadonlyArray<Demand>): ReadonlyMap<string, number> => {
  const shares = new Map<string, number>()
  const byWish = demands.toSorted((a, b) => a.wanted - b.wanted || (a.stackKey < b.stackKey ? -1 : 1))
  let left = slots
  byWish.forEach(({ stackKey, wanted }, index) => {
    const portion = Math.min(wanted, Math.floor(left / (byWish.length - index)))
    shares.set(stackKey, portion)
    left -= portion
  })
  const extra = Math.floor(left / byWish.length)
  for (const [stackKey, portion] of shares) shares.set(stackKey, portion + extra)
  return shares
}
