/**
 * Until when this process may act on what it has. The others take it away when the database has not heard of the process for
 * a while; one that was suspended, or cut off, finds that out only when it asks again, and must not act before.
 */
import type * as RateLimit from "@stacksapi/core/RateLimit"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Fence } from "../client/fence.ts"

export interface Lease {
  /** Asks for more time, and says what the answer was: undefined where there was none. */
  readonly renew: (ask: Effect.Effect<boolean | undefined>) => Effect.Effect<boolean | undefined>
  /** Whether it is known to be held, now. */
  readonly isHeld: () => boolean
  /** Waits until it is known to be held, now. */
  readonly awaitHeld: Effect.Effect<void>
  /** Waits until it has run out. */
  readonly awaitLapse: Effect.Effect<void>
}

/** How often somebody who waits for it looks again. */
const interval = "100 millis"

/** A lease that the database ends after `expiration`; it is not held yet. */
export const make = (expiration: Duration.Duration): Effect.Effect<Lease> =>
  Effect.map(Effect.service(Clock.Clock), (clock) => {
    // What is sent before an action arrives before it, but for the time that the action itself takes.
    const lifetime = Duration.toMillis(expiration) * 0.9
    const now = () => ({ monotonic: clock.monotonicTimeNanosUnsafe(), wall: clock.currentTimeMillisUnsafe() })
    let askedAt: ReturnType<typeof now> | undefined

    /** By the clock that went further: one stands still while a machine sleeps, and the other one can be set. */
    const left = () => {
      if (askedAt === undefined) return 0
      const { monotonic, wall } = now()
      return lifetime - Math.max(Number(monotonic - askedAt.monotonic) / 1e6, wall - askedAt.wall)
    }
    const awaitHeld: Effect.Effect<void> = Effect.suspend(() =>
      left() > 0 ? Effect.void : Effect.delay(awaitHeld, interval)
    )
    const awaitLapse: Effect.Effect<void> = Effect.suspend(() =>
      left() > 0 ? Effect.delay(awaitLapse, Math.ceil(left())) : Effect.void
    )
    return {
      // It was given no earlier than it was asked for.
      renew: (ask) =>
        Effect.suspend(() => {
          const asked = now()
          return Effect.tap(ask, (isGiven) =>
            Effect.sync(() => {
              if (isGiven !== undefined) askedAt = isGiven ? asked : undefined
            })
          )
        }),
      isHeld: () => left() > 0,
      awaitHeld,
      awaitLapse
    }
  })

/** Holds each attempt of a call back until it may be made. */
export const gate =
  (lease: Lease) =>
  (limiter: RateLimit.Limiter): RateLimit.Limiter => ({
    limit: (call, attempt) =>
      limiter.limit(call, (observe) =>
        Effect.andThen(lease.awaitHeld, Effect.provideService(attempt(observe), Fence, lease.isHeld))
      )
  })
