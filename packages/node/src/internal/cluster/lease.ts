/**
 * A lease: until when this process may act on what it owns. Other processes take over when the database has had no heartbeat for a
 * while. A process that was suspended or partitioned learns that only when it renews, and must not act before.
 */
import type * as RateLimit from "@stacksapi/core/RateLimit"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Fence } from "../client/fence.ts"

export interface Lease {
  /** Renews it, and returns whether it was granted: undefined if there was no response. */
  readonly renew: <E>(request: Effect.Effect<boolean | undefined, E>) => Effect.Effect<boolean | undefined, E>
  /** Whether this process knows that it holds the lease. */
  readonly isHeld: () => boolean
  /** Waits until this process knows that it holds the lease. */
  readonly awaitHeld: Effect.Effect<void>
  /** Waits until the lease has expired. */
  readonly awaitLapse: Effect.Effect<void>
}

/** The part of the time for which the holder acts on it. The margin is for the time that an action takes to arrive. */
export const usablePart = 0.9

/** How often a fiber that waits for the lease checks it. */
const checkInterval = "100 millis"

/** Makes a lease that the database ends after `expiration`. It is not held yet. */
export const make = (expiration: Duration.Duration): Effect.Effect<Lease> =>
  Effect.map(Effect.service(Clock.Clock), (clock) => {
    const lifetime = Duration.toMillis(expiration) * usablePart
    const now = () => ({ monotonic: clock.monotonicTimeNanosUnsafe(), wall: clock.currentTimeMillisUnsafe() })
    let renewedAt: ReturnType<typeof now> | undefined

    /** By the clock that advanced further: one stops while a machine sleeps, and the other can be set. */
    const remaining = () => {
      if (renewedAt === undefined) return 0
      const { monotonic, wall } = now()
      return lifetime - Math.max(Number(monotonic - renewedAt.monotonic) / 1e6, wall - renewedAt.wall)
    }
    const awaitHeld: Effect.Effect<void> = Effect.suspend(() =>
      remaining() > 0 ? Effect.void : Effect.delay(awaitHeld, checkInterval)
    )
    const awaitLapse: Effect.Effect<void> = Effect.suspend(() =>
      remaining() > 0 ? Effect.delay(awaitLapse, Math.ceil(remaining())) : Effect.void
    )
    return {
      // The lease counts from the request, which is never later than the grant.
      renew: (request) =>
        Effect.suspend(() => {
          const requestedAt = now()
          return Effect.tap(request, (isGranted) =>
            Effect.sync(() => {
              if (isGranted !== undefined) renewedAt = isGranted ? requestedAt : undefined
            })
          )
        }),
      isHeld: () => remaining() > 0,
      awaitHeld,
      awaitLapse
    }
  })

/** The same lease, for what may end before it. */
export const restrict = ({ awaitHeld, isHeld }: Lease, isOpen: () => boolean): Pick<Lease, "isHeld" | "awaitHeld"> => ({
  isHeld: () => isOpen() && isHeld(),
  awaitHeld: Effect.flatMap(awaitHeld, () => (isOpen() ? Effect.void : Effect.never))
})

/** Delays each attempt of a call until the lease is held. */
export const gate =
  (lease: Pick<Lease, "isHeld" | "awaitHeld">) =>
  (limiter: RateLimit.Limiter): RateLimit.Limiter => ({
    limit: (call, attempt) =>
      limiter.limit(call, (observe) =>
        Effect.andThen(lease.awaitHeld, Effect.provideService(attempt(observe), Fence, lease.isHeld))
      )
  })
