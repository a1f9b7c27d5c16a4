/** Redacts secrets in a text that arrives line by line. */
import { clean, type RawLine } from "../terminal/lines.ts"
import { Automaton, type Pattern } from "./automaton.ts"
import * as Base64 from "./base64Spelling.ts"
import * as Escaped from "./escapedSpelling.ts"
import * as Plain from "./plainSpelling.ts"
import { type Range, Ranges, Scan } from "./scan.ts"
import * as Spelling from "./spelling.ts"

export interface Redactor {
  /** The text without secrets. A secret of several lines becomes one mark. */
  readonly redact: (text: string) => string
  /** Starts a text that arrives line by line. Longer lines are cropped to `maxLineLength`. */
  readonly open: (maxLineLength: number) => Output
}

interface Output {
  /** Takes a line, and returns the lines that can be shown. */
  readonly push: (line: RawLine) => ReadonlyArray<string>
  /** Returns the lines that were held back, because no more lines will come. */
  readonly end: () => ReadonlyArray<string>
}

const mark = "[REDACTED]"

/** Shorter secrets are redacted only in plain form, because their encoded forms occur in any text. */
export const minLength = 6

/** How many characters are held back at most. A secret that has begun may be followed by endless white space. */
const maxHeldLength = 1024 * 1024

/**
 * Tokens of Buildkite: cluster, agent, job, registration, job acquisition and user tokens. They consist of an organization's id, a dot
 * and the token itself, or are JWTs. There may be a letter before a token, as in `\nbkct_…`.
 */
const tokens = /bk(?:ct|aa|aat|aj|ar|jat|ua)_(?=[\w.=-]{6})[\w-]+(?:=*\.[\w-]+)*/g

/** The length in bytes of UTF-8, which the agent uses too. */
export const byteLength = (text: string): number => Buffer.byteLength(text)

// -----------------------------------------------------------------------------
// Patterns
// -----------------------------------------------------------------------------

const linesOf = (text: string): ReadonlyArray<string> => text.split(/\r\n|\r|\n/)

/** Whether only Base64 changes the secret. */
const isPlain = (secret: string): boolean => /^\w*$/.test(secret)

/** The secret with the escapes of the most common encoders. Used if too few characters remain without quotes and backslashes. */
const escapes = (secret: string): ReadonlyArray<string> => {
  const json = JSON.stringify(secret).slice(1, -1)
  const c = secret.replace(/[\\']/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t").replaceAll("\r", "\\r")
  const url = encodeURIComponent(secret.toWellFormed())
  const wholeUrl = url.replace(/['!()*~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
  const urls = [url, wholeUrl, wholeUrl.replaceAll("%20", "+"), encodeURIComponent(url)]
  return [
    json,
    JSON.stringify(json).slice(1, -1),
    json.replaceAll("'", "\\u0027").replaceAll('\\"', "\\u0022"),
    c,
    c.replaceAll('"', '\\"'),
    secret.replace(/[^\w@%+=:,./-]/g, "\\$&"),
    secret.replaceAll("'", "'\\''"),
    secret.replaceAll("'", `'"'"'`),
    ...urls,
    ...urls.map((text) => text.replace(/%../g, (code) => code.toLowerCase()))
  ]
}

const encoder = new TextEncoder()

interface Patterns {
  readonly plain: ReadonlyArray<Pattern>
  readonly escaped: ReadonlyArray<Pattern>
  readonly base64: ReadonlyArray<Pattern>
}

const patternsOf = (secrets: ReadonlyArray<string>): Patterns => {
  const plain: Array<Pattern> = []
  const escaped: Array<Pattern> = []
  const base64: Array<Pattern> = []
  for (const secret of new Set(secrets)) {
    // Control characters are removed from the output, so they are removed from the secret too.
    const texts = new Set([secret, linesOf(secret).map(clean).join("\n")])
    const lines = linesOf(secret).flatMap((line, _, { length }) =>
      length > 1 && byteLength(clean(line).trim()) >= minLength ? [clean(line)] : []
    )
    for (const text of new Set([...texts, ...lines])) {
      const pattern = Plain.patternOf(text)
      if (pattern.length === 0) continue
      plain.push(pattern)
      if (isPlain(text) || byteLength(text) < minLength) continue
      const bare = Escaped.patternOf(text)
      if (bare.length >= minLength) escaped.push(bare)
      else plain.push(...escapes(text).map(Plain.patternOf))
    }
    for (const text of new Set([secret, secret.trim()])) {
      if (byteLength(text) < minLength) continue
      base64.push(...Base64.patternsOf(encoder.encode(text)))
    }
  }
  return { plain, escaped, base64 }
}

// -----------------------------------------------------------------------------
// Text
// -----------------------------------------------------------------------------

interface Pass {
  readonly automaton: Automaton
  readonly spelling: Spelling.Spelling
}

const passOf = (patterns: ReadonlyArray<Pattern>, spelling: Spelling.Spelling): ReadonlyArray<Pass> =>
  patterns.length === 0 ? [] : [{ automaton: new Automaton(patterns, spelling.sourcesOf), spelling }]

/** Redacts Buildkite's tokens, and secrets in every spelling. */
export const make = (secrets: ReadonlyArray<string>): Redactor => {
  const patterns = patternsOf(secrets)
  const passes = [
    ...passOf(patterns.plain, Plain.spelling),
    ...passOf(patterns.escaped, Escaped.spelling),
    ...passOf(patterns.base64, Base64.spelling)
  ]
  return {
    redact: (text) => {
      const output = new RedactedLines(passes, Number.POSITIVE_INFINITY)
      const lines = text.split("\n").flatMap((line) => output.push({ text: line, isCut: false }))
      return [...lines, ...output.end()].join("\n")
    },
    open: (maxLineLength) => new RedactedLines(passes, maxLineLength)
  }
}

/** A text from which secrets are removed line by line. A line in which a secret may have begun waits for the next lines. */
class RedactedLines implements Output {
  readonly #scans: ReadonlyArray<{ readonly scan: Scan; readonly reader: Spelling.Reader }>
  readonly #tokens = new Ranges()
  readonly #ranges: ReadonlyArray<Ranges>
  readonly #maxLineLength: number
  /** The lines that are not completely processed, with their line ends; the index of the first one, and its position in the text. */
  #held: Array<string> = []
  #first = 0
  #firstFrom = 0
  /** Up to which position the text is processed, and its length. */
  #done = 0
  #length = 0
  /** The end of the last secret. */
  #hiddenTo = 0
  readonly #current = new Spelling.Line()
  #line = ""
  #lines: Array<string> = []

  constructor(passes: ReadonlyArray<Pass>, maxLineLength: number) {
    this.#scans = passes.map(({ automaton, spelling }) => {
      const scan = new Scan(automaton)
      return { scan, reader: spelling.reader(scan) }
    })
    this.#ranges = [this.#tokens, ...this.#scans.map(({ scan }) => scan.ranges)]
    this.#maxLineLength = maxLineLength
  }

  push({ isCut, text }: RawLine): ReadonlyArray<string> {
    const from = this.#length
    const end = from + text.length
    if (this.#scans.length > 0) this.#current.load(text)
    for (const { reader } of this.#scans) reader.readLine(this.#current, from)
    if (text.includes("bk")) {
      for (const { 0: token, index } of text.matchAll(tokens))
        this.#tokens.add(from + index, from + index + token.length)
    }
    if (isCut) {
      // Redact the end of the cut line: it may be the first part of a secret.
      if (this.#pendingFrom < end) this.#tokens.add(this.#pendingFrom, end)
      this.#forget()
    } else {
      for (const { reader } of this.#scans) reader.readLineEnd(end)
    }
    const shown = isCut ? `${text}…` : text
    this.#length += shown.length + 1
    if (this.#length - this.#done > maxHeldLength) this.#forget()
    const pendingFrom = this.#pendingFrom
    // The fast path for a line without secrets.
    if (this.#done === from && this.#line === "" && pendingFrom >= this.#length && this.#nextRange() === undefined) {
      this.#done = this.#firstFrom = this.#length
      return [this.#cropped(shown)]
    }
    this.#held.push(`${shown}\n`)
    return this.#take(Math.min(pendingFrom, this.#length))
  }

  end(): ReadonlyArray<string> {
    this.#forget()
    return this.#take(this.#length)
  }

  get #pendingFrom(): number {
    let from = Number.POSITIVE_INFINITY
    for (const { scan } of this.#scans) from = Math.min(from, scan.pendingFrom)
    return from
  }

  #forget(): void {
    for (const { scan } of this.#scans) scan.reset()
  }

  /** Shows or hides the text before a position. No secret that is not found yet begins before it. */
  #take(to: number): ReadonlyArray<string> {
    while (this.#done < to) {
      const range = this.#nextRange()
      if (range === undefined || range.from >= to) {
        this.#show(to)
      } else if (range.from > this.#done) {
        this.#show(range.from)
      } else {
        if (range.from >= this.#hiddenTo) this.#append(mark)
        this.#hiddenTo = Math.max(this.#hiddenTo, range.to)
        this.#done = Math.min(range.to, to)
      }
    }
    this.#drop()
    const lines = this.#lines
    this.#lines = []
    return lines
  }

  #nextRange(): Range | undefined {
    let next: Range | undefined
    for (const ranges of this.#ranges) {
      const range = ranges.after(this.#done)
      if (range !== undefined && (next === undefined || range.from < next.from)) next = range
    }
    return next
  }

  #show(to: number): void {
    while (this.#done < to) {
      this.#drop()
      const text = this.#held[this.#first] ?? ""
      const end = Math.min(to, this.#firstFrom + text.length)
      const part = text.slice(this.#done - this.#firstFrom, end - this.#firstFrom)
      this.#done = end
      if (part.endsWith("\n")) {
        this.#append(part.slice(0, -1))
        this.#lines.push(this.#cropped(this.#line))
        this.#line = ""
      } else {
        this.#append(part)
      }
    }
  }

  /** Releases the lines that are completely processed. */
  #drop(): void {
    while (this.#first < this.#held.length) {
      const { length } = this.#held[this.#first] ?? ""
      if (this.#firstFrom + length > this.#done) break
      this.#firstFrom += length
      this.#held[this.#first++] = ""
    }
    if (this.#first < this.#held.length && this.#first < 1024) return
    this.#held = this.#held.slice(this.#first)
    this.#first = 0
  }

  #append(text: string): void {
    if (this.#line.length <= this.#maxLineLength) this.#line += text
  }

  #cropped(line: string): string {
    const maxLineLength = this.#maxLineLength
    return line.length > maxLineLength ? `${crop(line, maxLineLength - 1)}…` : line
  }
}

/** Crops to a number of code units, without splitting a surrogate pair. */
const crop = (text: string, length: number): string => text.slice(0, length).replace(/[\ud800-\udbff]$/, "")
