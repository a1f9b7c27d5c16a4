/**
 * The count of one stack's requests under one limit, never more optimistic than the service's own.
 *
 * The service counts a request at some moment between its being sent and its response, and for one second from then. So a
 * request counts here from before it is sent until one second after its response: then whatever the service counts is counted
 * here too.
 */
import type * as Effect from "effect/Effect"
import { Line } from "./line.ts"

const windowMillis = 1000
/** What two machines' clocks may differ by within a second, and a timer's early end. */
const marginMillis = 5
/** How long a request may still be on its way to the service after its caller gave up. */
const graceMillis = 1000

/** A request's place in the count. */
export interface Slot {
  readonly takenAt: number
  /** `Taken`: not sent yet. `Sent`: no answer yet. `Counted`: it comes free by itself. */
  state: "Taken" | "Sent" | "Counted"
}

/** What a response says of the count. */
export interface Report {
  /** The name under which the service counts. */
  readonly scope: string | undefined
  /** Requests allowed in a second. */
  readonly limit: number | undefined
  /** Requests that the service would still take. */
  readonly remaining: number | undefined
  /** Milliseconds until it takes more, where `remaining` is 0. */
  readonly reset: number
  /** Milliseconds that it asks to wait. */
  readonly pause: number
}

/** All times are milliseconds of a monotonic clock. */
export class SlidingWindow {
  /** Requests allowed in any one second. */
  limit: number
  /** Who waits. Only the first one looks at the count, and is woken when that has changed. */
  readonly line = new Line()
  #inFlight = 0
  /** When the requests that were answered come free, and those that ended without an answer; both in ascending order. */
  readonly #answered = new Times()
  readonly #unanswered = new Times()
  #heldUntil = Number.NEGATIVE_INFINITY
  #lastFullAt = Number.NEGATIVE_INFINITY

  constructor(limit: number) {
    this.limit = limit
  }

  /** The limit to keep to at a time. */
  protected limitAt(_now: number): number {
    return this.limit
  }

  /** What has to be done before the first waiter can have a slot. */
  prepare(_now: number): Effect.Effect<void> | undefined {
    return undefined
  }

  /** From when on the next request may be sent, as far as can be told now: past, future, or never without an answer. */
  nextAt(now: number): number {
    this.#expire(now)
    return this.#isFull(now)
      ? Math.max(this.#heldUntil, Math.min(this.#answered.first, this.#unanswered.first))
      : this.#heldUntil
  }

  take(now: number): Slot {
    this.#inFlight++
    if (this.#isFull(now)) this.#lastFullAt = now
    return { takenAt: now, state: "Taken" }
  }

  /** The service has answered: it has counted the request by now. */
  answer(slot: Slot, now: number): void {
    if (slot.state !== "Sent") return
    const before = this.nextAt(now)
    slot.state = "Counted"
    this.#inFlight--
    this.#answered.push(now + windowMillis + marginMillis)
    this.#wakeIfSooner(before, now)
  }

  /** Takes over what a response says. */
  correct({ limit, pause, remaining, reset }: Report, slot: Slot, now: number): void {
    const before = this.nextAt(now)
    if (limit !== undefined) this.limit = limit
    if (remaining === 0 && this.isSharedWithOthers(slot, now)) this.hold(now + reset)
    if (pause > 0) this.hold(now + pause)
    this.#wakeIfSooner(before, now)
  }

  /** The request is over, answered or not. */
  end(slot: Slot, now: number): void {
    if (slot.state === "Counted") return
    const before = this.nextAt(now)
    if (this.#isFull(now)) this.#lastFullAt = now
    if (slot.state === "Sent") this.#unanswered.push(now + windowMillis + graceMillis)
    slot.state = "Counted"
    this.#inFlight--
    this.#wakeIfSooner(before, now)
  }

  /** Whether nothing would be lost if this window was forgotten. */
  isIdle(now: number): boolean {
    this.#expire(now)
    return this.line.first === undefined && this.#used === 0 && this.#heldUntil <= now
  }

  /**
   * Whether a count that is full on the service's side holds requests of others: between the sending of this one and its
   * answer, ours were never as many as the limit.
   */
  protected isSharedWithOthers(slot: Slot, now: number): boolean {
    return !this.#isFull(now) && this.#lastFullAt < slot.takenAt
  }

  get #used(): number {
    return this.#inFlight + this.#answered.size + this.#unanswered.size
  }

  #isFull(now: number): boolean {
    return this.#used >= this.limitAt(now)
  }

  /** Lets nobody go before then. */
  protected hold(until: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, until)
  }

  #expire(now: number): void {
    for (const times of [this.#answered, this.#unanswered]) {
      while (times.first <= now) {
        if (this.#isFull(now)) this.#lastFullAt = Math.max(this.#lastFullAt, times.first)
        times.shift()
      }
    }
  }

  #wakeIfSooner(before: number, now: number): void {
    if (this.nextAt(now) < before) this.line.first?.latch.openUnsafe()
  }
}

/** Times in ascending order: what is added is never earlier than what is there. */
class Times {
  #times: Array<number> = []
  #start = 0

  get size(): number {
    return this.#times.length - this.#start
  }

  /** The earliest time; never where there is none. */
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
