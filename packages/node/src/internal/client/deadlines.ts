/**
 * The timeouts of requests. Effect's `timeout` makes two fibers and a timer for each request, which cost half as much as the request itself.
 * Here one fiber waits for the earliest deadline of all requests.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** What ends at its deadline. */
interface Timed {
  readonly expire: (millis: number) => void
}

/** Requests with the same timeout and clock, in the order of their deadlines. */
class Queue {
  readonly #clock: Clock.Clock
  readonly #millis: number
  readonly #deadlines = new Map<Timed, number>()
  #fiber: Fiber.Fiber<void> | undefined

  constructor(clock: Clock.Clock, millis: number) {
    this.#clock = clock
    this.#millis = millis
  }

  add(timed: Timed, caller: Fiber.Fiber<unknown, unknown>): void {
    this.#deadlines.set(timed, this.#now() + this.#millis)
    this.#fiber ??= Effect.runForkWith(caller.context)(this.#watch)
  }

  /** Stops the fiber with the last request: its timer would keep the process alive. */
  remove(timed: Timed): void {
    if (!this.#deadlines.delete(timed) || this.#deadlines.size > 0) return
    const fiber = this.#fiber
    this.#fiber = undefined
    fiber?.interruptUnsafe()
  }

  #now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** The time until the next deadline, after what is due has expired; undefined if there is none. */
  #expire(): number | undefined {
    for (const [timed, deadline] of this.#deadlines) {
      const left = deadline - this.#now()
      if (left > 0) return left
      this.#deadlines.delete(timed)
      timed.expire(this.#millis)
    }
    this.#fiber = undefined
    return undefined
  }

  readonly #watch: Effect.Effect<void> = Effect.suspend(() => {
    const left = this.#expire()
    return left === undefined
      ? Effect.void
      : Effect.flatMap(this.#clock.sleep(Duration.millis(left)), () => this.#watch)
  })
}

export class Deadlines {
  readonly #queues = new WeakMap<Clock.Clock, Map<number, Queue>>()

  /** The queue of a timeout. */
  queue(clock: Clock.Clock, millis: number): Queue {
    const queues = this.#queues.get(clock) ?? new Map<number, Queue>()
    const queue = queues.get(millis) ?? new Queue(clock, millis)
    this.#queues.set(clock, queues)
    queues.set(millis, queue)
    return queue
  }
}

export type { Queue }
