/** The calls that wait for admission, first in, first out. */
import * as Latch from "effect/Latch"

/** A call that waits. Its latch opens when the call should check whether it can be admitted. */
export interface Waiter {
  readonly latch: Latch.Latch
}

export class Waiters {
  readonly #waiters = new Set<Waiter>()
  // One iterator for all removals: to find the first item anew, a Set steps over every item that was removed before it.
  #order = this.#waiters.values()
  #first: Waiter | undefined

  get first(): Waiter | undefined {
    return this.#first
  }

  get size(): number {
    return this.#waiters.size
  }

  add(): Waiter {
    const waiter: Waiter = { latch: Latch.makeUnsafe() }
    this.#waiters.add(waiter)
    this.#first ??= this.#next()
    return waiter
  }

  remove(waiter: Waiter): void {
    this.#waiters.delete(waiter)
    if (waiter === this.#first) this.#first = this.#next()
  }

  #next(): Waiter | undefined {
    const next = this.#order.next()
    if (next.done !== true) return next.value
    // An iterator that has reached the end stays there.
    this.#order = this.#waiters.values()
    return this.#order.next().value
  }
}
