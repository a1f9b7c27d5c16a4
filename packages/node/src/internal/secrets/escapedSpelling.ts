/** Finds secrets with quotes, and with the escapes of JSON, shells, URLs and most languages. */
import type { Pattern } from "./automaton.ts"
import * as Plain from "./plainSpelling.ts"
import type { Scan } from "./scan.ts"
import { backslash, codesOf, isSpace, type Line, percent, plus, type Reader, type Spelling, space } from "./spelling.ts"

/** How a character is read: unchanged, as white space, not at all (quotes and invisible characters), or as a backslash. */
const itself = 0
const blank = 1
const dropped = 2
const escape = 3

/**
 * The kind of each byte. Quotes and the `$` of `$'…'` are dropped, because every shell puts them in different places. A plus sign is a
 * space in URLs.
 */
const kinds = Uint8Array.from({ length: 256 }, (_, code) => {
  if (isSpace(code) || code === plus) return blank
  if (code === backslash) return escape
  return code < space || code === 0x7f || "\"'`$".includes(String.fromCharCode(code)) ? dropped : itself
})

/** Matches a line with special characters. Other lines are read like plain ones. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are among what is dropped.
const special = /[\x00-\x08\x0e-\x1f"$%'+\\`\x7f-\uffff]/

/** Matches characters that `readQuickly` can't read: escapes with a meaning, percent encoding, and non-ASCII characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it excludes what is not ASCII.
const escapes = /%|\\[\w\\]|[^\x00-\x7f]/

/** Letters after a backslash that stand for white space, and for invisible characters. */
const blanks: ReadonlySet<number> = new Set(codesOf("nrtvf"))
const controls: ReadonlySet<number> = new Set(codesOf("abeE"))

const hexDigit = (code: number): number => {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | space
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

const encoder = new TextEncoder()

const utf8 = (codePoint: number): ArrayLike<number> =>
  codePoint < 0x80 ? [codePoint] : encoder.encode(String.fromCodePoint(Math.min(codePoint, 0x10ffff)).toWellFormed())

/** Bytes with their positions in a line. */
class Bytes {
  codes = new Uint8Array(1024)
  from = new Int32Array(1024)
  to = new Int32Array(1024)
  length = 0

  /** Removes all bytes, and reserves capacity. */
  clear(capacity: number): void {
    this.length = 0
    if (this.codes.length >= capacity) return
    this.codes = new Uint8Array(capacity)
    this.from = new Int32Array(capacity)
    this.to = new Int32Array(capacity)
  }

  push(code: number, from: number, to: number): void {
    this.codes[this.length] = code
    this.from[this.length] = from
    this.to[this.length] = to
    this.length++
  }

  at(index: number): number {
    return index < this.length ? (this.codes[index] ?? 0) : -1
  }

  fromOf(index: number): number {
    return this.from[index] ?? 0
  }

  /** The end of the byte before an index. */
  endOf(index: number): number {
    return this.to[index - 1] ?? 0
  }
}

/** A UTF-16 code unit takes at most three bytes of UTF-8; a surrogate pair takes four. */
const maxBytes = 3

/** Decodes percent encoding. A percent sign may be encoded itself, any number of times. */
const decodePercents = (line: string, bytes: Bytes): void => {
  bytes.clear(line.length * maxBytes)
  for (let index = 0; index < line.length; ) {
    const code = line.charCodeAt(index)
    if (code >= 0x80) {
      const end = index + ((line.codePointAt(index) ?? 0) > 0xffff ? 2 : 1)
      for (const byte of encoder.encode(line.slice(index, end))) bytes.push(byte, index, end)
      index = end
    } else if (code === percent) {
      let last = index
      while (line.charCodeAt(last + 1) === 0x32 && line.charCodeAt(last + 2) === 0x35) last += 2
      const high = hexDigit(line.charCodeAt(last + 1))
      const low = hexDigit(line.charCodeAt(last + 2))
      const isEncoded = high >= 0 && low >= 0
      const end = isEncoded ? last + 3 : last + 1
      bytes.push(isEncoded ? high * 16 + low : percent, index, end)
      index = end
    } else {
      bytes.push(code, index, index + 1)
      index++
    }
  }
}

interface Digits {
  readonly value: number
  readonly end: number
}

/** Reads as many digits as there are, up to `atMost`. Undefined if there are fewer than `atLeast`. */
const readDigits = (bytes: Bytes, index: number, base: 8 | 16, atLeast: number, atMost: number): Digits | undefined => {
  let value = 0
  let end = index
  while (end < index + atMost) {
    const digit = hexDigit(bytes.at(end))
    if (digit < 0 || digit >= base) break
    value = value * base + digit
    end++
  }
  return end - index < atLeast ? undefined : { value, end }
}

/** The bytes of an escape, and where it ends. */
interface Escape {
  readonly bytes: ArrayLike<number>
  readonly end: number
}

const skipBackslashes = (bytes: Bytes, index: number): number => {
  let end = index
  while (bytes.at(end) === backslash) end++
  return end
}

/** Reads `\u0041`, `\u{41}`, and a surrogate pair of two escapes. */
const readUnicode = (bytes: Bytes, index: number): Escape | undefined => {
  if (bytes.at(index) === 0x7b) {
    const digits = readDigits(bytes, index + 1, 16, 1, 6)
    return digits === undefined || bytes.at(digits.end) !== 0x7d
      ? undefined
      : { bytes: utf8(digits.value), end: digits.end + 1 }
  }
  const digits = readDigits(bytes, index, 16, 4, 4)
  if (digits === undefined) return undefined
  const { end, value } = digits
  const next = skipBackslashes(bytes, end)
  const low =
    value >= 0xd800 && value < 0xdc00 && next > end && bytes.at(next) === 0x75
      ? readDigits(bytes, next + 1, 16, 4, 4)
      : undefined
  return low !== undefined && low.value >= 0xdc00 && low.value < 0xe000
    ? { bytes: utf8((value - 0xd800) * 0x400 + low.value - 0xdc00 + 0x10000), end: low.end }
    : { bytes: utf8(value), end }
}

/** Reads what follows backslashes. Undefined if that is an ordinary character. */
const readEscape = (bytes: Bytes, index: number): Escape | undefined => {
  const code = bytes.at(index)
  if (blanks.has(code)) return { bytes: [space], end: index + 1 }
  if (controls.has(code)) return { bytes: [], end: index + 1 }
  if (code === 0x75) return readUnicode(bytes, index + 1)
  const digits =
    code === 0x55
      ? readDigits(bytes, index + 1, 16, 8, 8)
      : code === 0x78
        ? readDigits(bytes, index + 1, 16, 1, 2)
        : readDigits(bytes, index, 8, 3, 3)
  return digits && { bytes: code === 0x55 ? utf8(digits.value) : [Math.min(digits.value, 0xff)], end: digits.end }
}

/** Removes escapes and quotes. */
class Unescaper {
  readonly #raw = new Bytes()
  readonly bytes = new Bytes()
  /** White space at the beginning of a line, and after other white space, is skipped. */
  isAfterSpace = true

  /**
   * Reads a line that has only simple escapes, such as those of quotes, and does not record the positions of its bytes. This is enough to
   * see that most lines contain no pattern. Returns false if the line has other escapes.
   */
  readQuickly(line: Line): boolean {
    if (escapes.test(line.text)) return false
    const { bytes } = this
    const end = line.text.length
    bytes.clear(end)
    const { codes } = bytes
    let length = 0
    let isAfterSpace = true
    for (let index = 0; index < end; index++) {
      const code = line.codes[index] ?? 0
      const kind = kinds[code]
      if (kind === itself) {
        codes[length++] = code
        isAfterSpace = false
      } else if (kind === blank) {
        if (!isAfterSpace) codes[length++] = space
        isAfterSpace = true
      }
    }
    bytes.length = length
    this.isAfterSpace = isAfterSpace
    return true
  }

  readLine(line: string): void {
    const raw = this.#raw
    this.isAfterSpace = true
    decodePercents(line, raw)
    this.bytes.clear(raw.length)
    for (let index = 0; index < raw.length; ) {
      const code = raw.at(index)
      if (kinds[code] === escape) {
        index = this.#readEscapes(index)
      } else {
        this.#push(code, raw.fromOf(index), raw.endOf(index + 1))
        index++
      }
    }
  }

  #push(code: number, from: number, to: number): void {
    const kind = kinds[code]
    if (kind === itself) {
      this.isAfterSpace = false
      this.bytes.push(code, from, to)
    } else if (kind === blank) {
      if (!this.isAfterSpace) this.bytes.push(space, from, to)
      this.isAfterSpace = true
    }
  }

  /** Reads backslashes and the escape after them. A text that was escaped several times has several backslashes. */
  #readEscapes(start: number): number {
    const raw = this.#raw
    let index = start
    while (true) {
      index = skipBackslashes(raw, index)
      const escape = readEscape(raw, index)
      if (escape === undefined) return index
      index = escape.end
      if (escape.bytes[0] === backslash) continue
      for (let byte = 0; byte < escape.bytes.length; byte++) {
        this.#push(escape.bytes[byte] ?? 0, raw.fromOf(start), raw.endOf(index))
      }
      return index
    }
  }
}

class EscapedReader implements Reader {
  readonly #scan: Scan
  readonly #unescaper = new Unescaper()
  readonly #plain: Plain.PlainReader
  #isSpecial = false

  constructor(scan: Scan) {
    this.#scan = scan
    this.#plain = new Plain.PlainReader(scan)
  }

  readLine(line: Line, position: number): void {
    this.#isSpecial = special.test(line.text)
    if (this.#isSpecial) this.#readSpecial(line, position)
    else this.#plain.readLine(line, position)
  }

  #readSpecial(line: Line, position: number): void {
    const scan = this.#scan
    const unescaper = this.#unescaper
    if (!scan.isPending && unescaper.readQuickly(line) && !this.#hasStart) return
    const { automaton } = scan
    unescaper.readLine(line.text)
    const { codes, length } = unescaper.bytes
    let index = 0
    while (index < length) {
      const start = scan.isPending ? index : automaton.indexOfStart(codes, index, length)
      if (start >= length) break
      index = this.#read(position, start, Math.min(length, start + automaton.window))
    }
    if (!scan.isPending && this.#mayContinue(index))
      this.#read(position, Math.max(index, length - 1 - automaton.tail), length)
  }

  /** Whether a pattern may begin in this line. */
  get #hasStart(): boolean {
    const { codes, length } = this.#unescaper.bytes
    return this.#scan.automaton.indexOfStart(codes, 0, length) < length || this.#mayContinue(0)
  }

  /** Whether a pattern that begins at `index` or later may continue in the next line. */
  #mayContinue(index: number): boolean {
    const { automaton } = this.#scan
    const { codes, length } = this.#unescaper.bytes
    const end = this.#unescaper.isAfterSpace ? length - 1 : length
    return automaton.hasSpaces && end > index && automaton.mayContinue(codes[end - 2] ?? 0, codes[end - 1] ?? 0)
  }

  #read(position: number, start: number, end: number): number {
    const scan = this.#scan
    const { codes, from, length, to } = this.#unescaper.bytes
    let index = start
    for (; index < end || (scan.isPending && index < length); index++) {
      scan.read(codes[index] ?? 0, position + (from[index] ?? 0), position + (to[index] ?? 0))
    }
    return index
  }

  readLineEnd(position: number): void {
    if (!this.#isSpecial) this.#plain.readLineEnd(position)
    else if (!this.#unescaper.isAfterSpace) this.#scan.read(space, position, position + 1)
  }
}

export const spelling: Spelling = {
  sourcesOf: Plain.spelling.sourcesOf,
  reader: (scan) => new EscapedReader(scan)
}

export const patternOf = (secret: string): Pattern => {
  const unescaper = new Unescaper()
  unescaper.readLine(secret)
  const { codes, length } = unescaper.bytes
  const from = codes[0] === space ? 1 : 0
  return codes.slice(from, codes[length - 1] === space ? Math.max(from, length - 1) : length)
}
