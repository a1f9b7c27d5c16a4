/**
 * A window that shares its limit with other processes through a store.
 *
 * The store has token buckets, not sliding windows. The bucket is sized so that it fits into a window: `burst` tokens at once and
 * one more every `interval` never exceed the limit within a second, even if requests reach the service up to `slackMillis` closer
 * together than they were granted. A request that took longer may be counted together with later ones, so it costs a second
 * token. So does a request that was a little late if the service then has nothing left.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { currentMonotonicMillis } from "../monotonicMillis.ts"
import type { SharedStore } from "./sharedStore.ts"
import { type Admission, type Report, SlidingWindow } from "./slidingWindow.ts"

/** By how much the latencies of requests may differ at no cost. */
const slackMillis = 75
/** How long a permit can be used. */
const permitMillis = 40
/** How long the fastest round trip is remembered: this long at least, twice as long at most. */
const fastestMillis = 30_000
/** How many round trips are needed before the fastest one is a good estimate. */
const minRoundTrips = 10

/** The capacity of the bucket, and the milliseconds per refilled token. */
const bucketFor = (limit: number): { readonly burst: number; readonly interval: number } => {
  const burst = Math.max(1, Math.floor(limit / 50))
  return { burst, interval: (1001 + slackMillis) / (limit - burst + 1) }
}

interface Permit {
  /** From when on its request may be sent. */
  readonly from: number
  /** The earliest time at which the store can have refilled its token. */
  readonly grantedAt: number
}

interface RoundTrip {
  readonly grantedAt: number
  /** How many milliseconds it took longer than the fastest one. */
  lateness: number
}

export class SharedWindow extends SlidingWindow {
  readonly #key: string
  readonly #store: SharedStore
  /** In ascending order. A permit that is not used in time is lost. */
  #permits: ReadonlyArray<Permit> = []
  readonly #roundTrips = new WeakMap<Admission, RoundTrip>()
  /** Tokens that are owed for late requests. */
  #debt = 0
  readonly #fastest = new FastestRoundTrip()

  constructor(key: string, limit: number, store: SharedStore) {
    super(limit)
    this.#key = `stacksapi:${key}`
    this.#store = store
  }

  protected override limitAt(now: number): number {
    return this.#store.keepsToShare(now) ? Math.max(1, Math.floor(this.#share)) : this.limit
  }

  override prepare(now: number): Effect.Effect<void> | undefined {
    if (this.#store.isOpen || super.nextAt(now) > now) return undefined
    this.#permits = this.#permits.filter(({ from }) => from + permitMillis >= now)
    return this.#permits.length > 0 ? undefined : this.#takePermits
  }

  override nextAt(now: number): number {
    const next = super.nextAt(now)
    if (this.#store.isOpen) return Math.max(next, this.#store.shareFrom)
    return next > now ? next : (this.#permits[0]?.from ?? next)
  }

  override admit(now: number): Admission {
    const admission = super.admit(now)
    if (this.#store.keepsToShare(now) && this.#share < 1) this.pauseUntil(now + 1000 / this.#share)
    if (!this.#store.isOpen) {
      const [permit, ...permits] = this.#permits
      this.#permits = permits
      if (permit !== undefined) this.#roundTrips.set(admission, { grantedAt: permit.grantedAt, lateness: 0 })
    }
    return admission
  }

  override onResponse(admission: Admission, now: number): void {
    const roundTrip = this.#roundTrips.get(admission)
    if (roundTrip !== undefined && admission.state === "Sent") {
      const millis = now - roundTrip.grantedAt
      roundTrip.lateness = millis - this.#fastest.update(millis, now)
      if (roundTrip.lateness > slackMillis) this.#addDebt()
    }
    super.onResponse(admission, now)
  }

  override applyReport(report: Report, admission: Admission, now: number): void {
    const { lateness = 0 } = this.#roundTrips.get(admission) ?? {}
    if (report.remaining === 0 && lateness > slackMillis / 3 && lateness <= slackMillis) this.#addDebt()
    super.applyReport(report, admission, now)
  }

  /** While the circuit is closed, requests of other processes are expected: the store has counted them. */
  protected override isUsedByOthers(admission: Admission, now: number): boolean {
    return this.#store.isOpen && super.isUsedByOthers(admission, now)
  }

  #addDebt(): void {
    this.#debt = Math.min(this.#debt + 1, this.limit)
  }

  /** This process's share of the limit; it may be less than one request a second. */
  get #share(): number {
    return this.limit / this.#store.processes
  }

  /** Takes permits for the waiters in one request, for a twentieth of the limit at most. */
  readonly #takePermits: Effect.Effect<void> = Effect.flatMap(currentMonotonicMillis, (askedAt) => {
    const { burst, interval } = bucketFor(this.limit)
    const debt = this.#debt
    const wanted = Math.max(1, Math.min(this.waiters.size, Math.floor(this.limit / 20)))
    const tokens = debt + wanted
    return this.#store
      .takeTokens({
        key: this.#key,
        tokens,
        limit: burst,
        refillRate: Duration.millis(interval),
        allowOverflow: true
      })
      .pipe(
        Effect.flatMap((grant) =>
          Effect.map(currentMonotonicMillis, (now) => {
            if (grant === undefined) return
            const [remaining, elapsed] = grant
            this.#debt -= debt
            this.#permits = Array.from({ length: wanted }, (_, index) => {
              const missing = Math.ceil(-(remaining + wanted - 1 - index))
              const delay = Math.max(0, missing * interval - elapsed)
              return { from: now + delay, grantedAt: askedAt + delay }
            })
          })
        )
      )
  })
}

/** The fastest round trip of the last 30 to 60 seconds. It is 0 at first, because the first requests have to connect. */
class FastestRoundTrip {
  #count = 0
  #previous = Number.POSITIVE_INFINITY
  #current = Number.POSITIVE_INFINITY
  #currentFrom = Number.NEGATIVE_INFINITY

  update(millis: number, now: number): number {
    if (now - this.#currentFrom >= fastestMillis) {
      this.#previous = this.#current
      this.#current = Number.POSITIVE_INFINITY
      this.#currentFrom = now
    }
    this.#current = Math.min(this.#current, millis)
    if (this.#count < minRoundTrips) this.#count++
    return this.#count < minRoundTrips ? 0 : Math.min(this.#previous, this.#current)
  }
}
