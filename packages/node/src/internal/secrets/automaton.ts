/**
 * An Aho–Corasick automaton: finds any number of patterns in one pass over a text, in time that is linear in the text. A filter skips
 * parts of a line that can't contain a pattern. It looks at only a few of their characters.
 */

const space = 0x20

/** The state before the first character. */
export const start = 0

/** How many characters the filter hashes together, and the maximum distance between the places that it looks at. */
const gramLength = 4
const maxStride = 8

const hashes = 65_536

/** The hash of four characters, by their lower eight bits. */
const hash = (one: number, two: number, three: number, four: number): number =>
  Math.imul((one & 0xff) | ((two & 0xff) << 8) | ((three & 0xff) << 16) | (four << 24), 0x9e3779b1) >>> 16

/** A sequence of at least one character code. */
export type Pattern = ArrayLike<number>

/** The characters of a text that are read as a given character of a pattern. */
export type Sources = (code: number) => ReadonlyArray<number>

export class Automaton {
  /** The length of the longest pattern. */
  readonly longest: number
  /** Whether a pattern contains white space. */
  readonly hasSpaces: boolean
  /** How many characters to read from a position that `indexOfStart` returns, to find out whether a pattern begins there. */
  readonly window: number
  /** How many characters to read at the end of a line, for a pattern that continues in the next line. The filter finds earlier starts. */
  readonly tail: number
  /** The distance between the places that the filter looks at. 0 if a pattern is too short for the filter. */
  readonly #stride: number
  /** For each hash of four characters: whether a pattern contains them within a stride of its start. */
  readonly #grams = new Uint8Array(hashes)
  /** For each hash of one or two characters: whether a pattern contains a space after them. */
  readonly #endings = new Uint8Array(hashes)

  /** A small number for each character of the patterns; 0 for all others. */
  readonly #symbols = new Int32Array(256)
  readonly #otherSymbols = new Map<number, number>()
  /** For each state: its parent state, the symbol that leads from there to it, and how many characters of a pattern it stands for. */
  readonly #parents: Int32Array
  readonly #symbolsTo: Int32Array
  readonly #depths: Int32Array
  /** For each state: the state of its longest proper suffix. */
  readonly #failures: Int32Array
  /** For each state: the length of the longest pattern that ends there. */
  readonly #found: Int32Array
  /** The transitions from the start by symbol. All other transitions are in a hash table with open addressing. */
  readonly #root: Int32Array
  readonly #table: Int32Array
  readonly #shift: number

  constructor(patterns: ReadonlyArray<Pattern>, sourcesOf: Sources) {
    let total = 1
    let longest = 0
    let shortest = Number.POSITIVE_INFINITY
    let symbolCount = 0
    for (const pattern of patterns) {
      total += pattern.length
      longest = Math.max(longest, pattern.length)
      shortest = Math.min(shortest, pattern.length)
      for (let index = 0; index < pattern.length; index++) {
        const code = pattern[index] ?? 0
        if (this.#symbolOf(code) !== 0) continue
        if (code < 256) this.#symbols[code] = ++symbolCount
        else this.#otherSymbols.set(code, ++symbolCount)
      }
    }
    this.longest = longest
    this.hasSpaces = this.#symbolOf(space) !== 0
    this.#stride = Math.max(0, Math.min(maxStride, shortest - gramLength + 1))
    this.window = Math.max(1, this.#stride)
    this.tail = this.#stride === 0 ? longest : this.#stride + gramLength - 2
    for (const pattern of patterns) this.#filter(pattern, sourcesOf)

    this.#parents = new Int32Array(total)
    this.#symbolsTo = new Int32Array(total)
    this.#depths = new Int32Array(total)
    this.#failures = new Int32Array(total)
    this.#found = new Int32Array(total)
    this.#root = new Int32Array(symbolCount + 1)
    const bits = Math.max(4, Math.ceil(Math.log2(total * 2)))
    this.#table = new Int32Array(2 ** bits)
    this.#shift = 32 - bits
    this.#build(patterns, total)
  }

  // ---------------------------------------------------------------------------
  // The filter
  // ---------------------------------------------------------------------------

  #filter(pattern: Pattern, sourcesOf: Sources): void {
    for (let index = 0; index < this.#stride; index++) {
      for (const one of sourcesOf(pattern[index] ?? 0)) {
        for (const two of sourcesOf(pattern[index + 1] ?? 0)) {
          for (const three of sourcesOf(pattern[index + 2] ?? 0)) {
            for (const four of sourcesOf(pattern[index + 3] ?? 0)) this.#grams[hash(one, two, three, four)] = 1
          }
        }
      }
    }
    for (let index = 1; index < pattern.length; index++) {
      if (pattern[index] !== space) continue
      this.#endings[hash(0, 0, index === 1 ? 0 : (pattern[index - 2] ?? 0), pattern[index - 1] ?? 0)] = 1
    }
  }

  /** The first position from `index` on at which a pattern may begin. Returns `length` if none begins and ends before it. */
  indexOfStart(codes: Uint8Array, index: number, length: number): number {
    const grams = this.#grams
    const stride = this.#stride
    if (stride === 0) return index
    const last = length - gramLength
    for (let place = index + stride - 1; place <= last; place += stride) {
      const code = hash(codes[place] ?? 0, codes[place + 1] ?? 0, codes[place + 2] ?? 0, codes[place + 3] ?? 0)
      if (grams[code] === 1) return place - stride + 1
    }
    return length
  }

  /** Whether a space after these two characters may be part of a pattern. */
  mayContinue(one: number, two: number): boolean {
    return this.#endings[hash(0, 0, one, two)] === 1 || this.#endings[hash(0, 0, 0, two)] === 1
  }

  // ---------------------------------------------------------------------------
  // The automaton
  // ---------------------------------------------------------------------------

  #build(patterns: ReadonlyArray<Pattern>, total: number): void {
    let count = 1
    for (const pattern of patterns) {
      let state = start
      for (let index = 0; index < pattern.length; index++) {
        const symbol = this.#symbolOf(pattern[index] ?? 0)
        let next = this.#child(state, symbol)
        if (next === 0) {
          next = count++
          this.#addChild(state, symbol, next)
        }
        state = next
      }
      this.#found[state] = pattern.length
    }
    // A state's failure has fewer characters than the state, so handle states by their depth.
    const byDepth = new Int32Array(count - 1).map((_, index) => index + 1)
    const depths = this.#depths
    const starts = new Int32Array(total + 1)
    for (let state = 1; state < count; state++) starts[at(depths, state)] = at(starts, at(depths, state)) + 1
    for (let depth = 1; depth <= total; depth++) starts[depth] = at(starts, depth) + at(starts, depth - 1)
    for (let state = count - 1; state >= 1; state--) {
      const depth = at(depths, state)
      const place = at(starts, depth) - 1
      starts[depth] = place
      byDepth[place] = state
    }
    for (const state of byDepth) {
      const parent = at(this.#parents, state)
      const failure = parent === start ? start : this.#after(at(this.#failures, parent), at(this.#symbolsTo, state))
      this.#failures[state] = failure
      if (at(this.#found, state) === 0) this.#found[state] = at(this.#found, failure)
    }
  }

  #addChild(state: number, symbol: number, child: number): void {
    this.#parents[child] = state
    this.#symbolsTo[child] = symbol
    this.#depths[child] = at(this.#depths, state) + 1
    if (state === start) {
      this.#root[symbol] = child
      return
    }
    let slot = this.#slotOf(state, symbol)
    while (this.#table[slot] !== 0) slot = (slot + 1) & (this.#table.length - 1)
    this.#table[slot] = child
  }

  #slotOf(state: number, symbol: number): number {
    return Math.imul(Math.imul(state, 0x2c1b3c6d) + symbol, 0x9e3779b1) >>> this.#shift
  }

  #symbolOf(code: number): number {
    return code < 256 ? at(this.#symbols, code) : (this.#otherSymbols.get(code) ?? 0)
  }

  /** The child of a state by a symbol; 0 if no pattern continues with it. */
  #child(state: number, symbol: number): number {
    if (state === start) return at(this.#root, symbol)
    const mask = this.#table.length - 1
    let slot = this.#slotOf(state, symbol)
    while (true) {
      const child = at(this.#table, slot)
      if (child === 0 || (this.#parents[child] === state && this.#symbolsTo[child] === symbol)) return child
      slot = (slot + 1) & mask
    }
  }

  #after(from: number, symbol: number): number {
    let state = from
    while (state !== start) {
      const child = this.#child(state, symbol)
      if (child !== 0) return child
      state = at(this.#failures, state)
    }
    return at(this.#root, symbol)
  }

  /** The state after another character. */
  next(state: number, code: number): number {
    const symbol = this.#symbolOf(code)
    return symbol === 0 ? start : this.#after(state, symbol)
  }

  /** The length of the longest pattern that ends in this state; 0 if there is none. */
  matched(state: number): number {
    return at(this.#found, state)
  }

  /** How many of the last characters may be the beginning of a pattern. */
  depth(state: number): number {
    return at(this.#depths, state)
  }
}

/** An element that exists. */
const at = (array: Int32Array, index: number): number => array[index] ?? 0
