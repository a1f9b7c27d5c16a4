/** Those who wait, in the order in which they came; anybody may leave at any time, at no cost to the others. */
import * as Latch from "effect/Latch"

/** Somebody's place: the latch is opened when they should look whether it is their turn. */
export interface Place {
  readonly latch: Latch.Latch
  previous: Place | undefined
  next: Place | undefined
}

export class Line {
  #first: Place | undefined
  #last: Place | undefined

  get first(): Place | undefined {
    return this.#first
  }

  /** How many wait, counted no further than `max`. */
  sizeUpTo(max: number): number {
    let size = 0
    for (let place = this.#first; place !== undefined && size < max; place = place.next) size++
    return size
  }

  join(): Place {
    const place: Place = { latch: Latch.makeUnsafe(), previous: this.#last, next: undefined }
    if (this.#last === undefined) this.#first = place
    else this.#last.next = place
    this.#last = place
    return place
  }

  leave({ next, previous }: Place): void {
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
  }
}
