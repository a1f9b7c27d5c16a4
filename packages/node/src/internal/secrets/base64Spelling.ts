/** Finds secrets in Base64. */
import type { Pattern } from "./automaton.ts"
import type { Scan } from "./scan.ts"
import {
  backslash,
  codesOf,
  isSpace,
  type Line,
  minus,
  percent,
  plus,
  type Reader,
  type Spelling,
  slash,
  underscore
} from "./spelling.ts"

/** A line that ends in this many characters of the alphabet may continue in the next line. Most programs wrap at 64 or 76. */
const minWrappedLength = 32

/** Maps both alphabets to the standard one; 0 for other characters. */
const alphabet = Uint8Array.from({ length: 256 }, (_, code) => {
  if (code === minus) return plus
  if (code === underscore) return slash
  return /[A-Za-z0-9+/]/.test(String.fromCharCode(code)) ? code : 0
})

const digitAt = (line: string, index: number): number => alphabet[line.charCodeAt(index)] ?? 0

/** The escapes that JSON and URLs use in Base64: line breaks, slashes and plus signs. */
const base64Escape = /\\(?:[nr/]|u002[bf])|%2[bf]|%25/i
const base64EscapeHere = /[nr/]|u002[bf]|%(?:25)*2[bf]/iy

class Base64Reader implements Reader {
  readonly #scan: Scan
  #line = ""
  #position = 0

  constructor(scan: Scan) {
    this.#scan = scan
  }

  readLine({ codes, text: line }: Line, position: number): void {
    const scan = this.#scan
    const { automaton } = scan
    this.#line = line
    this.#position = position
    const isFiltered = !((line.includes("\\") || line.includes("%")) && base64Escape.test(line))
    let index = 0
    // Continuation lines may be indented.
    if (scan.isPending) while (isSpace(line.charCodeAt(index))) index++
    while (index < line.length) {
      const start = scan.isPending || !isFiltered ? index : automaton.indexOfStart(codes, index, line.length)
      if (start >= line.length) break
      index = this.#read(start, Math.min(line.length, start + automaton.window))
    }
    if (scan.isPending || !isFiltered || !this.#isWrapped) return
    let from = line.length - minWrappedLength
    while (from > index && digitAt(line, from - 1) > 0) from--
    this.#read(Math.max(index, from, line.length - automaton.tail), line.length)
  }

  /** Whether the line ends in so many digits that it may continue in the next line. */
  get #isWrapped(): boolean {
    const line = this.#line
    let length = 0
    while (length < minWrappedLength && digitAt(line, line.length - 1 - length) > 0) length++
    return length === minWrappedLength
  }

  /** Reads up to an index, or further while a pattern may have begun. Returns the index after the last character read. */
  #read(from: number, to: number): number {
    const line = this.#line
    const scan = this.#scan
    let index = from
    while (index < to || (scan.isPending && index < line.length)) index = this.#readNext(index)
    return index
  }

  #readNext(index: number): number {
    const line = this.#line
    const digit = digitAt(line, index)
    if (digit > 0) return this.#readDigit(digit, index, index + 1)
    const code = line.charCodeAt(index)
    let start = index
    // A backslash may be escaped itself.
    while (line.charCodeAt(start) === backslash) start++
    if (start > index || code === percent) {
      const escape = escapeAt(line, start)
      if (escape === "n" || escape === "r") return start + 1
      if (escape !== "") return this.#readDigit(/b$/i.test(escape) ? plus : slash, index, start + escape.length)
    }
    this.#scan.reset()
    return Math.max(start, index + 1)
  }

  /** Reads a digit. The range includes its neighbors, because they may hold bits of the secret's first or last byte. */
  #readDigit(digit: number, from: number, to: number): number {
    const first = digitAt(this.#line, from - 1) > 0 ? from - 1 : from
    const last = digitAt(this.#line, to) > 0 ? to + 1 : to
    this.#scan.read(digit, this.#position + first, this.#position + last)
    return to
  }

  readLineEnd(): void {
    if (this.#scan.isPending && !this.#isWrapped) this.#scan.reset()
  }
}

/** The rest of an escape after its backslashes, or the percent encoding of a digit. Empty if there is none. */
const escapeAt = (line: string, index: number): string => {
  base64EscapeHere.lastIndex = index
  return base64EscapeHere.exec(line)?.[0] ?? ""
}

export const spelling: Spelling = {
  sourcesOf: (code) => (code === plus ? [plus, minus] : code === slash ? [slash, underscore] : [code]),
  reader: (scan) => new Base64Reader(scan)
}

/** The Base64 of bytes at each of the three offsets in a group, without the characters that also hold bits of neighboring bytes. */
export const patternsOf = (bytes: Uint8Array): ReadonlyArray<Pattern> =>
  [0, 1, 2].map((offset) => {
    const padded = Buffer.alloc(offset + bytes.length)
    padded.set(bytes, offset)
    return codesOf(padded.toString("base64").slice(Math.ceil((offset * 8) / 6), Math.floor((padded.length * 8) / 6)))
  })
