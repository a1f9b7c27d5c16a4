/** A clock whose wall time can be moved apart from its monotonic time. */
import { type Clock, Effect } from "effect"

export interface SkewableClock {
  readonly clock: Clock.Clock
  /** Moves the wall time forward, or back where it is negative. */
  readonly step: (millis: number) => void
  /** Whether its wall time differs from the base clock's. */
  readonly isSkewed: boolean
}

export const skewable = (base: Clock.Clock): SkewableClock => {
  let offset = 0
  const millis = () => base.currentTimeMillisUnsafe() + offset
  const nanos = () => base.currentTimeNanosUnsafe() + BigInt(offset) * 1_000_000n
  return {
    clock: {
      currentTimeMillisUnsafe: millis,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: () => base.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: base.monotonicTimeNanos,
      sleep: (duration) => base.sleep(duration)
    },
    step: (by) => {
      offset += by
    },
    get isSkewed() {
      return offset !== 0
    }
  }
}
