/**
 * A window that shares its limit with other processes, by way of a store.
 *
 * The store has no sliding window, but a token bucket, which is made to fit into one: `burst` tokens that are there at once
 * and one more every `interval` are never more than the limit within a second, even if requests come to the service up to
 * 100 ms closer to each other than they were granted. Half of that is for the time that a permit is kept before it is used.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { RateLimiterStore } from "effect/persistence/RateLimiter"
import { SlidingWindow, type Slot } from "./slidingWindow.ts"

const permitMillis = 50
const storeTimeout = Duration.seconds(1)
/** How long to do without a store that failed. */
const outageMillis = 5000
/** The part of the limit that a process allows itself while it can't ask the store. */
const shareInOutage = 0.25

/** The tokens that may be there at once, and the milliseconds after which one more is. */
const bucketFor = (limit: number): { readonly burst: number; readonly interval: number } => {
  const burst = Math.max(1, Math.floor(limit / 20))
  return { burst, interval: 1101 / (limit - burst + 1) }
}

/** What the windows of a limiter know of their store. */
export interface StoreState {
  readonly store: RateLimiterStore["Service"]
  /** Until when nobody asks it. */
  outageUntil: number
  hasFailed: boolean
}

export class SharedWindow extends SlidingWindow {
  readonly #key: string
  readonly #state: StoreState
  /** From when on each granted request may be sent, in ascending order. One that is not used in time is lost. */
  #permits: Array<number> = []

  constructor(key: string, limit: number, state: StoreState) {
    super(limit)
    this.#key = `stacksapi:${key}`
    this.#state = state
  }

  protected override limitAt(now: number): number {
    return this.#isAlone(now) ? Math.max(1, Math.floor(this.limit * shareInOutage)) : this.limit
  }

  override prepare(now: number): Effect.Effect<void> | undefined {
    if (this.#isAlone(now) || super.nextAt(now) > now) return undefined
    this.#permits = this.#permits.filter((permit) => permit + permitMillis >= now)
    return this.#permits.length > 0 ? undefined : this.#askStore
  }

  override nextAt(now: number): number {
    const next = super.nextAt(now)
    return this.#isAlone(now) || next > now ? next : (this.#permits[0] ?? next)
  }

  override take(now: number): Slot {
    this.#permits.shift()
    return super.take(now)
  }

  /** The others' requests are expected here: the store has counted them. */
  protected override isSharedWithOthers(slot: Slot, now: number): boolean {
    return this.#isAlone(now) && super.isSharedWithOthers(slot, now)
  }

  #isAlone(now: number): boolean {
    return now < this.#state.outageUntil
  }

  /** Asks for permits for those who wait, within a burst: one question for many. */
  readonly #askStore: Effect.Effect<void> = Effect.suspend(() => {
    const { burst, interval } = bucketFor(this.limit)
    const tokens = Math.max(1, this.line.sizeUpTo(burst))
    return this.#state.store
      .tokenBucket({
        key: this.#key,
        tokens,
        limit: burst,
        refillRate: Duration.millis(interval),
        allowOverflow: true
      })
      .pipe(
        Effect.timeout(storeTimeout),
        Effect.matchCauseEffect({
          onSuccess: ([remaining, elapsed]) =>
            Effect.map(monotonicMillis, (now) => {
              this.#state.hasFailed = false
              this.#permits = Array.from({ length: tokens }, (_, index) => {
                const missing = Math.ceil(-(remaining + tokens - 1 - index))
                return now + Math.max(0, missing * interval - elapsed)
              })
            }),
          onFailure: (cause) => this.#goAlone(cause)
        })
      )
  })

  #goAlone(cause: Cause.Cause<unknown>): Effect.Effect<void> {
    return Effect.flatMap(monotonicMillis, (now) => {
      this.#state.outageUntil = now + outageMillis
      if (this.#state.hasFailed) return Effect.void
      this.#state.hasFailed = true
      return Effect.logWarning(
        "The store of the rate limits failed; until it answers again, this process keeps to a quarter of each limit",
        cause
      )
    })
  }
}

const monotonicMillis: Effect.Effect<number> = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
