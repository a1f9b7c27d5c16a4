/** Work that is spread over turns of the event loop: timers and other sockets get theirs in between. */
export interface Turns {
  /** Does the work now, or in a later turn where this one has had enough. */
  readonly run: (work: () => void) => void
}

export const makeTurns = (workPerTurn: number): Turns => {
  const waiting: Array<() => void> = []
  let left = workPerTurn
  let isScheduled = false

  const schedule = () => {
    if (isScheduled) return
    isScheduled = true
    setImmediate(begin)
  }

  const begin = () => {
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
