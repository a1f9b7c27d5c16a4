import type * as Clock from "effect/Clock"

/** The time for waits and elapsed times, in milliseconds. Unlike the wall clock it is never set. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
