/** Spreads work over turns of the event loop, so that timers and other sockets run in between. */
export interface Turns {
  /** Does the work now, or in a later turn if this one has reached its limit. */
  readonly run: (work: () => void) => void
}

export const makeTurns = (workPerTurn: number): Turns => {
  const waiting: Array<() => void> = []
  let left = workPerTurn
  let isScheduled = false

  const schedule = () => {
    if (isScheduled) return
    isScheduled = true
    setImmediate(runTurn)
  }

  const runTurn = () => {
    isScheduled = false
    left = workPerTurn
    while (left > 0) {
      const work = waiting.shift()
      if (work === undefined) break
      left--
      work()
    }
    if (left < workPerTurn) schedule()
  }

  return {
    run: (work) => {
      schedule()
      if (left === 0 || waiting.length > 0) {
        waiting.push(work)
        return
      }
      left--
      work()
    }
  }
}
