/** Finds the patterns of one automaton in a text that arrives line by line, and returns their ranges. */
import { type Automaton, start } from "./automaton.ts"

/** A range of the text, up to but not including `to`. Positions count from the beginning of the text. */
export interface Range {
  readonly from: number
  to: number
}

/** Ranges in ascending order. Overlapping ranges are merged. Add them in the order of their ends. */
export class Ranges {
  #ranges: Array<Range> = []
  #first = 0

  add(from: number, to: number): void {
    const ranges = this.#ranges
    let last = ranges.at(-1)
    while (last !== undefined && ranges.length > this.#first && last.from >= from) {
      ranges.pop()
      last = ranges.at(-1)
    }
    if (last !== undefined && ranges.length > this.#first && from < last.to) last.to = Math.max(last.to, to)
    else ranges.push({ from, to })
  }

  /** The first range that ends after a position. Earlier ranges are dropped. */
  after(position: number): Range | undefined {
    let range = this.#ranges[this.#first]
    while (range !== undefined && range.to <= position) range = this.#ranges[++this.#first]
    if (range === undefined && this.#first > 0) {
      this.#ranges = []
      this.#first = 0
    }
    return range
  }
}

/** One pass over a text. A character that it reads may stand for several characters of the text, or for a part of one. */
export class Scan {
  readonly ranges = new Ranges()
  readonly automaton: Automaton
  #state = start
  /** The positions in the text of the last characters that were read. */
  readonly #positions: Float64Array
  readonly #mask: number
  #count = 0

  constructor(automaton: Automaton) {
    this.automaton = automaton
    this.#positions = new Float64Array(2 ** Math.ceil(Math.log2(automaton.longest + 1)))
    this.#mask = this.#positions.length - 1
  }

  /** Reads a character that stands for the text between two positions. */
  read(code: number, from: number, to: number): void {
    const state = this.automaton.next(this.#state, code)
    this.#state = state
    if (state === start) return
    this.#positions[this.#count & this.#mask] = from
    this.#count = (this.#count + 1) & 0x3fffffff
    const length = this.automaton.matched(state)
    if (length > 0) this.ranges.add(this.#positionBefore(length), to)
  }

  /** Whether the last characters may be the beginning of a pattern. */
  get isPending(): boolean {
    return this.#state !== start
  }

  /** The start of a pattern that may have begun and is incomplete; infinity if there is none. */
  get pendingFrom(): number {
    return this.#state === start ? Number.POSITIVE_INFINITY : this.#positionBefore(this.automaton.depth(this.#state))
  }

  /** Starts again: the next character does not continue the previous ones. */
  reset(): void {
    this.#state = start
  }

  #positionBefore(length: number): number {
    return this.#positions[(this.#count - length) & this.#mask] ?? 0
  }
}
