/** The clock of the Redis server, which several processes share instead of their own clocks. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Redis from "effect/persistence/Redis"

/** By how many milliseconds the server's time is ahead of this process's monotonic clock, to half a round trip. */
export const measure = (redis: Redis.Redis["Service"]): Effect.Effect<number, Redis.RedisError> =>
  Effect.gen(function* () {
    const before = yield* Clock.monotonicTimeNanos
    const [seconds, micros] = yield* redis.send<readonly [seconds: string, micros: string]>("TIME")
    const after = yield* Clock.monotonicTimeNanos
    return Number(seconds) * 1000 + Number(micros) / 1000 - Number(before + after) / 2e6
  })

/** A clock with the server's time, which does not jump when this machine's clock is set. */
export const make = (clock: Clock.Clock, ahead: () => number): Clock.Clock => {
  const millis = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6 + ahead()
  const nanos = () => clock.monotonicTimeNanosUnsafe() + BigInt(Math.round(ahead() * 1e6))
  return {
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) => clock.sleep(duration)
  }
}
