/** How many slots each queue may use. */
import type { Demand } from "./queues.ts"

/**
 * Shares slots so that nobody who gets less than wanted gets less than somebody else, but for the one slot more that some get
 * where they don't come out even: it goes round, a turn each. What is left over when all have what they want is shared in the
 * same way: a queue that wakes up need not wait for its first jobs. The same turn and demands give everybody the same shares.
 */
export const share = (slots: number, demands: ReadonlyArray<Demand>, turn: number): ReadonlyMap<string, number> => {
  const byWish = demands.toSorted((a, b) => a.wanted - b.wanted)
  const shares = new Map<string, number>()
  let left = slots
  const short = byWish.findIndex(({ stackKey, wanted }, index) => {
    if (wanted * (byWish.length - index) > left) return true
    shares.set(stackKey, wanted)
    left -= wanted
    return false
  })
  // Those that can't have what they want; else what nobody wants now is for all.
  const rest = (short < 0 ? byWish : byWish.slice(short)).map(({ stackKey }) => stackKey).sort()
  const portion = Math.floor(left / rest.length)
  const odd = left - portion * rest.length
  rest.forEach((stackKey, index) => {
    const isItsTurn = (index + rest.length - ((turn * odd) % rest.length)) % rest.length < odd
    shares.set(stackKey, (shares.get(stackKey) ?? 0) + portion + (isItsTurn ? 1 : 0))
  })
  return shares
}
