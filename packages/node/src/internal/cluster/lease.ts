/**
 * Until when this process may act on what it owns.
 *
 * The database takes a process's locks away when it has not heard of it for a while. A process that was suspended finds that
 * out only when it asks again, and must not act before.
 */
import type * as RateLimit from "@stacksapi/core/RateLimit"
import * as Clock from "effect/Clock"
import type { RunnerStorage } from "effect/cluster/RunnerStorage"
import type { ShardId } from "effect/cluster/ShardId"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

export interface Lease {
  /** The storage of the locks; what it answers is noted. */
  readonly storage: RunnerStorage["Service"]
  /** Waits until the lock of a shard is known to be held, now. */
  readonly awaitHeld: (shardId: ShardId) => Effect.Effect<void>
  /** Whether any lock is known to be held, now. */
  readonly isHeld: Effect.Effect<boolean>
}

/** How often somebody who waits looks again. */
const interval = "100 millis"

export const make = (storage: RunnerStorage["Service"], expiration: Duration.Duration): Lease => {
  const heldUntil = new Map<string, bigint>()
  // What is sent before an action arrives before it, but for the time that the action itself takes.
  const lifetime = (Duration.toNanosUnsafe(expiration) * 9n) / 10n

  /** The lock was confirmed by the database no earlier than the question was sent. */
  const noting = <E>(
    confirm: Effect.Effect<Array<ShardId>, E>,
    onConfirmed: (held: ReadonlyArray<ShardId>) => void
  ): Effect.Effect<Array<ShardId>, E> =>
    Effect.flatMap(Clock.currentTimeNanos, (askedAt) =>
      Effect.tap(confirm, (held) =>
        Effect.sync(() => {
          onConfirmed(held)
          for (const shardId of held) heldUntil.set(String(shardId), askedAt + lifetime)
        })
      )
    )

  return {
    storage: {
      ...storage,
      acquire: (address, shardIds) => noting(storage.acquire(address, shardIds), () => {}),
      refresh: (address, shardIds) => {
        const asked = Array.from(shardIds)
        return noting(storage.refresh(address, asked), () =>
          asked.forEach((shardId) => void heldUntil.delete(String(shardId)))
        )
      },
      release: (address, shardId) =>
        Effect.suspend(() => {
          heldUntil.delete(String(shardId))
          return storage.release(address, shardId)
        }),
      releaseAll: (address) =>
        Effect.suspend(() => {
          heldUntil.clear()
          return storage.releaseAll(address)
        })
    },
    awaitHeld: (shardId) =>
      Effect.flatMap(Clock.currentTimeNanos, (now) =>
        (heldUntil.get(String(shardId)) ?? 0n) > now
          ? Effect.void
          : Effect.sleep(interval).pipe(
              Effect.andThen(Clock.currentTimeNanos),
              Effect.repeat({ until: (now) => (heldUntil.get(String(shardId)) ?? 0n) > now }),
              Effect.asVoid
            )
      ),
    isHeld: Effect.map(Clock.currentTimeNanos, (now) => Array.from(heldUntil.values()).some((until) => until > now))
  }
}

/** Holds each attempt of a call back until it may be made. */
export const gate = (limiter: RateLimit.Limiter, mayAct: Effect.Effect<void>): RateLimit.Limiter => ({
  limit: (call, attempt) => limiter.limit(call, (observe) => Effect.andThen(mayAct, attempt(observe)))
})
