/** Until when a process may act on what it owns. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Lease from "../../../packages/node/src/internal/cluster/lease.ts"

/** A clock whose wall time goes its own way. */
const twoClocks = Effect.map(Clock.Clock, (clock) => {
  let ahead = 0
  const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + ahead
  return {
    moveWall: (millis: number) => {
      ahead += millis
    },
    clock: {
      currentTimeMillisUnsafe,
      currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
      currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
      currentTimeNanos: clock.currentTimeNanos,
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration: Duration.Duration) => clock.sleep(duration)
    } satisfies Clock.Clock
  }
})

describe("A lease", () => {
  it.effect("ends before the database ends it, counted from the request", () =>
    Effect.gen(function* () {
      const lease = yield* Lease.make(Duration.seconds(10))
      assert.isFalse(lease.isHeld())
      // The response takes two seconds.
      const asking = yield* Effect.forkChild(lease.renew(Effect.as(Effect.sleep("2 seconds"), true)))
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(yield* Fiber.join(asking))
      assert.isTrue(lease.isHeld())
      const lapse = yield* Effect.forkChild(lease.awaitLapse)
      yield* TestClock.adjust("6 seconds")
      assert.isUndefined(lapse.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.isDefined(lapse.pollUnsafe())
      assert.isFalse(lease.isHeld())
    })
  )

  it.effect("continues without a response, and ends at once when it is refused", () =>
    Effect.gen(function* () {
      const lease = yield* Lease.make(Duration.seconds(10))
      yield* lease.renew(Effect.succeed(true))
      yield* lease.renew(Effect.undefined)
      assert.isTrue(lease.isHeld())
      yield* lease.renew(Effect.succeed(false))
      assert.isFalse(lease.isHeld())
    })
  )

  it.effect("ends by whichever clock advanced further, after the machine slept or its time was set", () =>
    Effect.gen(function* () {
      const { clock, moveWall } = yield* twoClocks
      const lease = yield* Effect.provideService(Lease.make(Duration.seconds(10)), Clock.Clock, clock)
      yield* lease.renew(Effect.succeed(true))
      // Only the wall clock advances while a machine sleeps.
      moveWall(60_000)
      assert.isFalse(lease.isHeld())
      yield* lease.renew(Effect.succeed(true))
      moveWall(-3_600_000)
      assert.isTrue(lease.isHeld())
      yield* TestClock.adjust("9 seconds")
      assert.isFalse(lease.isHeld())
    })
  )
})
