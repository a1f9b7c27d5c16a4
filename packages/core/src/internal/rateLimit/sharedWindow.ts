/**
 * A window that shares its limit with other processes, by way of a store.
 *
 * The store has no sliding window, but a token bucket, which is made to fit into one: `burst` tokens that are there at once
 * and one more every `interval` are never more than the limit within a second, even if requests come to the service up to
 * `slackMillis` closer to each other than they were granted. A request that took longer than that may have been counted among
 * later ones: another token is paid for it; and so for one that was a little late, where the service has none left.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { currentMonotonicMillis } from "../monotonicMillis.ts"
import type { SharedStore } from "./sharedStore.ts"
import { type Report, SlidingWindow, type Slot } from "./slidingWindow.ts"

/** By how much requests' ways to the service may differ at no cost. */
const slackMillis = 75
/** How long a permit is kept before it is used. */
const permitMillis = 40
/** How long the fastest trip is remembered at least; twice that at most. */
const fastestMillis = 30_000
/** From how many trips on the fastest one is believed to be that. */
const tripsToKnow = 10

/** The tokens that may be there at once, and the milliseconds after which one more is. */
const bucketFor = (limit: number): { readonly burst: number; readonly interval: number } => {
  const burst = Math.max(1, Math.floor(limit / 50))
  return { burst, interval: (1001 + slackMillis) / (limit - burst + 1) }
}

interface Permit {
  /** From when on its request may be sent. */
  readonly from: number
  /** The earliest moment that the store can have meant. */
  readonly grantedAt: number
}

interface Trip {
  readonly grantedAt: number
  /** By how much it took longer than the fastest. */
  lateness: number
}

export class SharedWindow extends SlidingWindow {
  readonly #key: string
  readonly #store: SharedStore
  /** In ascending order. One that is not used in time is lost. */
  #permits: ReadonlyArray<Permit> = []
  readonly #trips = new WeakMap<Slot, Trip>()
  /** Tokens still to be paid for requests that came late. */
  #debt = 0
  readonly #fastest = new Fastest()

  constructor(key: string, limit: number, store: SharedStore) {
    super(limit)
    this.#key = `stacksapi:${key}`
    this.#store = store
  }

  protected override limitAt(now: number): number {
    return this.#store.keepsToShare(now) ? Math.max(1, Math.floor(this.#share)) : this.limit
  }

  override prepare(now: number): Effect.Effect<void> | undefined {
    if (this.#store.isAlone || super.nextAt(now) > now) return undefined
    this.#permits = this.#permits.filter(({ from }) => from + permitMillis >= now)
    return this.#permits.length > 0 ? undefined : this.#askStore
  }

  override nextAt(now: number): number {
    const next = super.nextAt(now)
    if (this.#store.isAlone) return Math.max(next, this.#store.aloneFrom)
    return next > now ? next : (this.#permits[0]?.from ?? next)
  }

  override take(now: number): Slot {
    const slot = super.take(now)
    if (this.#store.keepsToShare(now) && this.#share < 1) this.hold(now + 1000 / this.#share)
    if (!this.#store.isAlone) {
      const [permit, ...permits] = this.#permits
      this.#permits = permits
      if (permit !== undefined) this.#trips.set(slot, { grantedAt: permit.grantedAt, lateness: 0 })
    }
    return slot
  }

  override answer(slot: Slot, now: number): void {
    const trip = this.#trips.get(slot)
    if (trip !== undefined && slot.state === "Sent") {
      const millis = now - trip.grantedAt
      trip.lateness = millis - this.#fastest.update(millis, now)
      if (trip.lateness > slackMillis) this.#owe()
    }
    super.answer(slot, now)
  }

  override correct(report: Report, slot: Slot, now: number): void {
    const { lateness = 0 } = this.#trips.get(slot) ?? {}
    if (report.remaining === 0 && lateness > slackMillis / 3 && lateness <= slackMillis) this.#owe()
    super.correct(report, slot, now)
  }

  /** The others' requests are expected here: the store has counted them. */
  protected override isSharedWithOthers(slot: Slot, now: number): boolean {
    return this.#store.isAlone && super.isSharedWithOthers(slot, now)
  }

  #owe(): void {
    this.#debt = Math.min(this.#debt + 1, this.limit)
  }

  /** What this process may send in a second without asking; it may be less than one request. */
  get #share(): number {
    return this.limit / this.#store.processes
  }

  /** Asks for permits for those who wait, a twentieth of the limit at most: one question for many. */
  readonly #askStore: Effect.Effect<void> = Effect.flatMap(currentMonotonicMillis, (askedAt) => {
    const { burst, interval } = bucketFor(this.limit)
    const debt = this.#debt
    const wanted = Math.max(1, this.line.sizeUpTo(Math.floor(this.limit / 20)))
    const tokens = debt + wanted
    return this.#store
      .ask({
        key: this.#key,
        tokens,
        limit: burst,
        refillRate: Duration.millis(interval),
        allowOverflow: true
      })
      .pipe(
        Effect.flatMap((granted) =>
          Effect.map(currentMonotonicMillis, (now) => {
            if (granted === undefined) return
            const [remaining, elapsed] = granted
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

/** The fastest trip of the last 30 to 60 seconds; none at all before some are known: the first ones have to connect. */
class Fastest {
  #known = 0
  #previous = Number.POSITIVE_INFINITY
  #current = Number.POSITIVE_INFINITY
  #currentFrom = Number.NEGATIVE_INFINITY

  update(trip: number, now: number): number {
    if (now - this.#currentFrom >= fastestMillis) {
      this.#previous = this.#current
      this.#current = Number.POSITIVE_INFINITY
      this.#currentFrom = now
    }
    this.#current = Math.min(this.#current, trip)
    if (this.#known < tripsToKnow) this.#known++
    return this.#known < tripsToKnow ? 0 : Math.min(this.#previous, this.#current)
  }
}
