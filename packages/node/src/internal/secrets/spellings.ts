/**
 * The spellings in which programs print a secret. For each spelling, secrets and text are normalized and then compared:
 *
 * - plain: with any white space between words;
 * - escaped: without quotes, and without the escapes of JSON, shells (`%q`, `set -x`), URLs and most languages;
 * - Base64: in the standard or the URL-safe alphabet, at any position within the encoded data, on one or more lines.
 */
import type { Pattern, Sources } from "./automaton.ts"
import type { Scan } from "./scan.ts"

/** A line, and the lower eight bits of its characters. The buffer may be longer than the line. */
export class Line {
  text = ""
  codes: Buffer = Buffer.alloc(4096)

  load(text: string): void {
    this.text = text
    if (this.codes.length < text.length) this.codes = Buffer.alloc(text.length * 2)
    this.codes.write(text, "latin1")
  }
}

/** Reads a text line by line. `position` is the position of the line, or of the line end, in the text. */
export interface Reader {
  readonly readLine: (line: Line, position: number) => void
  readonly readLineEnd: (position: number) => void
}

export interface Spelling {
  readonly sourcesOf: Sources
  readonly reader: (scan: Scan) => Reader
}

const space = 0x20
const percent = 0x25
const plus = 0x2b
const minus = 0x2d
const slash = 0x2f
const backslash = 0x5c
const underscore = 0x5f

const spaces: ReadonlyArray<number> = [space, 0x09, 0x0a, 0x0b, 0x0c, 0x0d]

const isSpace = (code: number): boolean => code === space || (code >= 0x09 && code <= 0x0d)

const codesOf = (text: string): Uint16Array => {
  const codes = new Uint16Array(text.length)
  for (let index = 0; index < text.length; index++) codes[index] = text.charCodeAt(index)
  return codes
}

// -----------------------------------------------------------------------------
// Plain
// -----------------------------------------------------------------------------

/** Reads any white space as one space, because programs may print a line end as a space or as two characters. */
class PlainReader implements Reader {
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

export const plain: Spelling = {
  sourcesOf: (code) => (code === space ? spaces : [code]),
  reader: (scan) => new PlainReader(scan)
}

export const plainPattern = (secret: string): Pattern =>
  codesOf(secret.replace(/[ \t-\r]+/g, " ").replace(/^ | $/g, ""))

// -----------------------------------------------------------------------------
// Escaped
// -----------------------------------------------------------------------------

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
  readonly #plain: PlainReader
  #isSpecial = false

  constructor(scan: Scan) {
    this.#scan = scan
    this.#plain = new PlainReader(scan)
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

export const escaped: Spelling = {
  sourcesOf: plain.sourcesOf,
  reader: (scan) => new EscapedReader(scan)
}

export const escapedPattern = (secret: string): Pattern => {
  const unescaper = new Unescaper()
  unescaper.readLine(secret)
  const { codes, length } = unescaper.bytes
  const from = codes[0] === space ? 1 : 0
  return codes.slice(from, codes[length - 1] === space ? Math.max(from, length - 1) : length)
}

// -----------------------------------------------------------------------------
// Base64
// -----------------------------------------------------------------------------

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

export const base64: Spelling = {
  sourcesOf: (code) => (code === plus ? [plus, minus] : code === slash ? [slash, underscore] : [code]),
  reader: (scan) => new Base64Reader(scan)
}

/** The Base64 of bytes at each of the three offsets in a group, without the characters that also hold bits of neighboring bytes. */
export const base64Patterns = (bytes: Uint8Array): ReadonlyArray<Pattern> =>
  [0, 1, 2].map((offset) => {
    const padded = Buffer.alloc(offset + bytes.length)
    padded.set(bytes, offset)
    return codesOf(padded.toString("base64").slice(Math.ceil((offset * 8) / 6), Math.floor((padded.length * 8) / 6)))
  })
