/** A retry budget: a token bucket that all calls under a policy share. */
import type { Budget } from "./plan.ts"

/** Less than 1, to allow for rounding errors. */
const one = 1 - 1e-6

const atLeastZero = (value: number): number => (Number.isNaN(value) ? 0 : Math.max(0, value))

export const makeBudget = (capacity: number, perSecond: number): Budget => {
  const size = atLeastZero(capacity)
  const perMilli = atLeastZero(perSecond) / 1000
  let left = size
  let filledAt: number | undefined
  const leftAt = (at: number): number => {
    const elapsed = at - (filledAt ?? at)
    return elapsed > 0 ? Math.min(size, left + elapsed * perMilli) : left
  }
  return {
    has: (at) => leftAt(at) >= one,
    take: (now) => {
      left = leftAt(now) - 1
      filledAt = now
    },
    refund: () => {
      left = Math.min(size, left + 1)
    }
  }
}
