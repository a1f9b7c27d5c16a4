/** Hides secrets in a text that comes line by line. */
import { clean, type RawLine } from "../terminal/lines.ts"
import { Automaton, type Pattern } from "./automaton.ts"
import { type Range, Ranges, Scan } from "./scan.ts"
import * as Spellings from "./spellings.ts"

export interface Redactor {
  /** The text without secrets; a secret of several lines becomes one mark. */
  readonly redact: (text: string) => string
  /** Begins a text that comes line by line, of which lines are shown up to a length. */
  readonly open: (maxLineLength: number) => Output
}

interface Output {
  /** Takes a line, and gives those that are ready to be shown. */
  readonly push: (line: RawLine) => ReadonlyArray<string>
  /** The lines that were held back, since no more will come. */
  readonly end: () => ReadonlyArray<string>
}

const mark = "[REDACTED]"

/** Shorter secrets are hidden only as they are: encoded they are everywhere in any text. */
export const minLength = 6

/** So much is held back at most: a secret of which the beginning has come may be followed by white space without end. */
const maxHeldLength = 1024 * 1024

/**
 * Tokens of Buildkite: of clusters, agents, jobs, for registration, for the acquisition of a job, and of people. They have an
 * organization's id, a dot and the token itself, or are JWTs. What stands before one may be a letter, as in `\nbkct_…`.
 */
const tokens = /bk(?:ct|aa|aat|aj|ar|jat|ua)_(?=[\w.=-]{6})[\w-]+(?:=*\.[\w-]+)*/g

/** The lengths of UTF-8, as the agent counts. */
export const byteLength = (text: string): number => Buffer.byteLength(text)

// -----------------------------------------------------------------------------
// Patterns
// -----------------------------------------------------------------------------

const linesOf = (text: string): ReadonlyArray<string> => text.split(/\r\n|\r|\n/)

/** A secret that no encoding but Base64 changes. */
const isPlain = (secret: string): boolean => /^\w*$/.test(secret)

/** Escapes as the most common encoders put them, for secrets of which too little is left without quotes and backslashes. */
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
    // What a terminal would not show is not shown of an output either.
    const texts = new Set([secret, linesOf(secret).map(clean).join("\n")])
    const lines = linesOf(secret).flatMap((line, _, { length }) =>
      length > 1 && byteLength(clean(line).trim()) >= minLength ? [clean(line)] : []
    )
    for (const text of new Set([...texts, ...lines])) {
      const pattern = Spellings.plainPattern(text)
      if (pattern.length === 0) continue
      plain.push(pattern)
      if (isPlain(text) || byteLength(text) < minLength) continue
      const bare = Spellings.escapedPattern(text)
      if (bare.length >= minLength) escaped.push(bare)
      else plain.push(...escapes(text).map(Spellings.plainPattern))
    }
    for (const text of new Set([secret, secret.trim()])) {
      if (byteLength(text) < minLength) continue
      base64.push(...Spellings.base64Patterns(encoder.encode(text)))
    }
  }
  return { plain, escaped, base64 }
}

// -----------------------------------------------------------------------------
// Text
// -----------------------------------------------------------------------------

interface Pass {
  readonly automaton: Automaton
  readonly spelling: Spellings.Spelling
}

const passOf = (patterns: ReadonlyArray<Pattern>, spelling: Spellings.Spelling): ReadonlyArray<Pass> =>
  patterns.length === 0 ? [] : [{ automaton: new Automaton(patterns, spelling.sourcesOf), spelling }]

/** Hides Buildkite's tokens, and secrets in every spelling. */
export const make = (secrets: ReadonlyArray<string>): Redactor => {
  const patterns = patternsOf(secrets)
  const passes = [
    ...passOf(patterns.plain, Spellings.plain),
    ...passOf(patterns.escaped, Spellings.escaped),
    ...passOf(patterns.base64, Spellings.base64)
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

/** A text of which secrets are taken out line by line. A line in which a secret may have begun waits for the next ones. */
class RedactedLines implements Output {
  readonly #scans: ReadonlyArray<{ readonly scan: Scan; readonly reader: Spellings.Reader }>
  readonly #tokens = new Ranges()
  readonly #ranges: ReadonlyArray<Ranges>
  readonly #maxLineLength: number
  /** Lines of which not all is done, with their line ends, and where the first one begins. */
  #held: Array<string> = []
  #first = 0
  #firstFrom = 0
  /** Up to where the text is done, and where it ends. */
  #done = 0
  #length = 0
  /** Where the last secret ends. */
  #hiddenTo = 0
  readonly #current = new Spellings.Line()
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
      // Half of a secret may be at its end.
      if (this.#pendingFrom < end) this.#tokens.add(this.#pendingFrom, end)
      this.#forget()
    } else {
      for (const { reader } of this.#scans) reader.readLineEnd(end)
    }
    const shown = isCut ? `${text}…` : text
    this.#length += shown.length + 1
    if (this.#length - this.#done > maxHeldLength) this.#forget()
    const pendingFrom = this.#pendingFrom
    // The usual line has nothing to hide.
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

  /** Shows or hides what is before a position: no secret that is still to be found begins there. */
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

  /** Lets go of the lines that are done. */
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

/** The first so many code units, without half of a character at their end. */
const crop = (text: string, length: number): string => text.slice(0, length).replace(/[\ud800-\udbff]$/, "")
