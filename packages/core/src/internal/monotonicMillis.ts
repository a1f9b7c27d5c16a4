/** The time for waits and elapsed times, in milliseconds. Unlike the wall clock it is never set. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

export const currentMonotonicMillis: Effect.Effect<number> = Clock.clockWith((clock) =>
  Effect.sync(() => monotonicMillis(clock))
)
