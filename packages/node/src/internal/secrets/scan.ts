/** Finds the patterns of one automaton in a text that comes line by line, and says where they are. */
import { type Automaton, start } from "./automaton.ts"

/** A part of the text: from its first character up to before `to`. Positions count from the beginning of the text. */
export interface Range {
  readonly from: number
  to: number
}

/** Ranges in their order, of which those that overlap are one. They are added in the order of their ends. */
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

  /** The first range that goes beyond a position; the ones before it are forgotten. */
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

/** One pass over a text. It reads characters that may stand for more than one character of the text, or for a part of one. */
export class Scan {
  readonly ranges = new Ranges()
  readonly automaton: Automaton
  #state = start
  /** Where the last characters that were read stand in the text. */
  readonly #positions: Float64Array
  readonly #mask: number
  #count = 0

  constructor(automaton: Automaton) {
    this.automaton = automaton
    this.#positions = new Float64Array(2 ** Math.ceil(Math.log2(automaton.longest + 1)))
    this.#mask = this.#positions.length - 1
  }

  /** Reads a character that stands in the text from `from` up to before `to`. */
  read(code: number, from: number, to: number): void {
    const state = this.automaton.next(this.#state, code)
    this.#state = state
    if (state === start) return
    this.#positions[this.#count & this.#mask] = from
    this.#count = (this.#count + 1) & 0x3fffffff
    const length = this.automaton.matched(state)
    if (length > 0) this.ranges.add(this.#positionBefore(length), to)
  }

  /** Whether what was read last may be the beginning of a pattern. */
  get isPending(): boolean {
    return this.#state !== start
  }

  /** Where a pattern may have begun of which more is to come. */
  get pendingFrom(): number {
    return this.#state === start ? Number.POSITIVE_INFINITY : this.#positionBefore(this.automaton.depth(this.#state))
  }

  /** Begins anew: what is read next does not follow on what was read before. */
  reset(): void {
    this.#state = start
  }

  #positionBefore(length: number): number {
    return this.#positions[(this.#count - length) & this.#mask] ?? 0
  }
}
