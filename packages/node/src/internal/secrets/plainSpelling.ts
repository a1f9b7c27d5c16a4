/** Finds secrets with any white space between words. */
import type { Pattern } from "./automaton.ts"
import type { Scan } from "./scan.ts"
import { codesOf, isSpace, type Line, type Reader, type Spelling, space, spaces } from "./spelling.ts"

/** Reads any white space as one space, because programs may print a line end as a space or as two characters. */
export class PlainReader implements Reader {
  readonly #scan: Scan
  #isAfterSpace = false

  constructor(scan: Scan) {
    this.#scan = scan
  }

  readLine({ codes, text: line }: Line, position: number): void {
    const scan = this.#scan
    const { automaton } = scan
    this.#isAfterSpace = true
    // If the line has more white space than a pattern, the filter does not recognize the pattern.
    const isFiltered = !(automaton.hasSpaces && longSpace.test(line)) || this.#hasNothing(line)
    let index = 0
    while (index < line.length) {
      const start = scan.isPending || !isFiltered ? index : automaton.indexOfStart(codes, index, line.length)
      if (start >= line.length) break
      index = this.#read(line, position, start, Math.min(line.length, start + automaton.window))
    }
    if (scan.isPending || !isFiltered || !automaton.hasSpaces) return
    // Read the end of the line again, because a pattern may begin there and continue in the next line.
    let end = line.length
    while (end > index && isSpace(line.charCodeAt(end - 1))) end--
    if (end === index) return
    const before = end > 1 ? line.charCodeAt(end - 2) : 0
    if (!automaton.mayContinue(isSpace(before) ? space : before, line.charCodeAt(end - 1))) return
    const from = longSpace.test(line) ? index : Math.max(index, end - automaton.tail)
    this.#read(line, position, from, line.length)
  }

  #hasNothing(line: string): boolean {
    if (this.#scan.isPending) return false
    const text = line.replace(/[ \t-\r]+/g, " ")
    return this.#scan.automaton.indexOfStart(Buffer.from(text, "latin1"), 0, text.length) === text.length
  }

  /** Reads up to an index, or further while a pattern may have begun. Returns the index after the last character read. */
  #read(line: string, position: number, from: number, to: number): number {
    const scan = this.#scan
    let index = from
    for (; index < to || (scan.isPending && index < line.length); index++) {
      const code = line.charCodeAt(index)
      if (!isSpace(code)) {
        this.#isAfterSpace = false
        scan.read(code, position + index, position + index + 1)
      } else if (!this.#isAfterSpace || !scan.isPending) {
        this.#isAfterSpace = true
        scan.read(space, position + index, position + index + 1)
      }
    }
    return index
  }

  readLineEnd(position: number): void {
    if (!this.#isAfterSpace || !this.#scan.isPending) this.#scan.read(space, position, position + 1)
    this.#isAfterSpace = true
  }
}

const longSpace = /[ \t-\r]{2}/

export const spelling: Spelling = {
  sourcesOf: (code) => (code === space ? spaces : [code]),
  reader: (scan) => new PlainReader(scan)
}

export const patternOf = (secret: string): Pattern => codesOf(secret.replace(/[ \t-\r]+/g, " ").replace(/^ | $/g, ""))
