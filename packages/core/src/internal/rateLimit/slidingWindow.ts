/**
 * Counts one stack's requests under one limit, and never counts fewer than the service.
 *
 * The service counts a request at some time between sending and response, and for one second from then on. This window counts a
 * request from before it is sent until one second after its response, so it counts everything that the service counts.
 */
import type * as Effect from "effect/Effect"
import { Waiters } from "./waiters.ts"

const windowMillis = 1000
/** Allows for clocks that run at different speeds, and for timers that end early. */
const marginMillis = 5
/** How long after its end a request without a response may still reach the service. */
const graceMillis = 1000

/** A request that the window has admitted. */
export interface Admission {
  readonly admittedAt: number
  /** `Admitted`: not sent yet. `Sent`: no response yet. `Counted`: over; it is counted until it expires. */
  state: "Admitted" | "Sent" | "Counted"
}

/** What a response says about the limit. */
export interface Report {
  /** The scope that the service counts the request under. */
  readonly scope: string | undefined
  /** Requests allowed in a second. */
  readonly limit: number | undefined
  /** Requests left in the service's window. */
  readonly remaining: number | undefined
  /** Milliseconds until the service's window has room again, if `remaining` is 0. */
  readonly reset: number
  /** Milliseconds to send nothing; 0 if the service does not ask for a pause. */
  readonly pause: number
}

/** All times are milliseconds of the monotonic clock. */
export class SlidingWindow {
  /** Requests allowed in any one second. */
  limit: number
  /** Only the first waiter checks the count. It is woken when the next request may be sent sooner. */
  readonly waiters = new Waiters()
  #inFlight = 0
  /** When the requests with and without a response expire, each in ascending order. */
  readonly #withResponse = new Times()
  readonly #withoutResponse = new Times()
  #pausedUntil = Number.NEGATIVE_INFINITY
  #lastFullAt = Number.NEGATIVE_INFINITY

  constructor(limit: number) {
    this.limit = limit
  }

  /** The limit in force at a time. */
  protected limitAt(_now: number): number {
    return this.limit
  }

  /** What must run before the first waiter can be admitted. */
  prepare(_now: number): Effect.Effect<void> | undefined {
    return undefined
  }

  /** The earliest time for the next request. Infinity if that depends on responses that are still to come. */
  nextAt(now: number): number {
    this.#expire(now)
    return this.#isFull(now)
      ? Math.max(this.#pausedUntil, Math.min(this.#withResponse.first, this.#withoutResponse.first))
      : this.#pausedUntil
  }

  admit(now: number): Admission {
    this.#inFlight++
    if (this.#isFull(now)) this.#lastFullAt = now
    return { admittedAt: now, state: "Admitted" }
  }

  /** The service has responded, so it has counted the request by now. */
  onResponse(admission: Admission, now: number): void {
    if (admission.state !== "Sent") return
    const before = this.nextAt(now)
    admission.state = "Counted"
    this.#inFlight--
    this.#withResponse.push(now + windowMillis + marginMillis)
    this.#wakeIfSooner(before, now)
  }

  /** Applies a response's report. */
  applyReport({ limit, pause, remaining, reset }: Report, admission: Admission, now: number): void {
    const before = this.nextAt(now)
    if (limit !== undefined) this.limit = limit
    if (remaining === 0 && this.isUsedByOthers(admission, now)) this.pauseUntil(now + reset)
    if (pause > 0) this.pauseUntil(now + pause)
    this.#wakeIfSooner(before, now)
  }

  /** The request is over, with or without a response. */
  onEnd(admission: Admission, now: number): void {
    if (admission.state === "Counted") return
    const before = this.nextAt(now)
    if (this.#isFull(now)) this.#lastFullAt = now
    if (admission.state === "Sent") this.#withoutResponse.push(now + windowMillis + graceMillis)
    admission.state = "Counted"
    this.#inFlight--
    this.#wakeIfSooner(before, now)
  }

  /** Whether the window can be removed without losing anything. */
  isIdle(now: number): boolean {
    this.#expire(now)
    return this.waiters.size === 0 && this.#used === 0 && this.#pausedUntil <= now
  }

  /**
   * Whether other processes must have used the limit as well, if the service has nothing left: this window was never full
   * between admission and response.
   */
  protected isUsedByOthers(admission: Admission, now: number): boolean {
    return !this.#isFull(now) && this.#lastFullAt < admission.admittedAt
  }

  get #used(): number {
    return this.#inFlight + this.#withResponse.size + this.#withoutResponse.size
  }

  #isFull(now: number): boolean {
    return this.#used >= this.limitAt(now)
  }

  /** Admits nothing before then. */
  protected pauseUntil(time: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, time)
  }

  #expire(now: number): void {
    for (const times of [this.#withResponse, this.#withoutResponse]) {
      while (times.first <= now) {
        if (this.#isFull(now)) this.#lastFullAt = Math.max(this.#lastFullAt, times.first)
        times.shift()
      }
    }
  }

  #wakeIfSooner(before: number, now: number): void {
    if (this.nextAt(now) < before) this.waiters.first?.latch.openUnsafe()
  }
}

/** A queue of times in ascending order. */
class Times {
  #times: Array<number> = []
  #start = 0

  get size(): number {
    return this.#times.length - this.#start
  }

  /** The earliest time; infinity if there is none. */
  get first(): number {
    return this.#times[this.#start] ?? Number.POSITIVE_INFINITY
  }

  push(time: number): void {
    this.#times.push(time)
  }

  shift(): void {
    this.#start++
    if (this.#start * 2 > this.#times.length) {
      this.#times = this.#times.slice(this.#start)
      this.#start = 0
    }
  }
}
