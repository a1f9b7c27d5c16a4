/** Splits the bytes that a program prints into lines of plain text. */

/** What a terminal does not show of a line: sequences with an end of their own, then strings, then single characters. */
const unseen =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this matches them on purpose.
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g

/** The first character of any of them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: this matches them on purpose.
const control = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/

export const clean = (text: string): string => text.replace(unseen, "")

/** Sequences that programs send instead of a carriage return: erase the line, or go to its first column. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: this matches them on purpose.
const startOver = /\x1b\[(?:2K|[01]?G)/g

/** The last version of a line that overwrites itself. */
const lastVersion = (raw: string): string => {
  const versions = raw.replace(startOver, "\r").replace(/\r+$/, "")
  return versions.slice(versions.lastIndexOf("\r") + 1)
}

/** The maximum length of a line with its control sequences. */
const maxRawLength = 65_536

/** A line, and whether its end was cut off. */
export interface RawLine {
  readonly text: string
  readonly isCut: boolean
}

/** Splits the bytes of one output, in chunks of any size, into lines. Invalid UTF-8 becomes U+FFFD. Bounds the length of a line. */
export class Lines {
  readonly #decoder = new TextDecoder("utf-8")
  #pending = ""
  #isCut = false

  /** Returns the lines that end in these bytes. */
  push(bytes: Uint8Array): Array<RawLine> {
    return this.#take(this.#decoder.decode(bytes, { stream: true }))
  }

  /** Returns the last line, if it has no line end. */
  end(): Array<RawLine> {
    const lines = this.#take(this.#decoder.decode())
    return this.#pending === "" ? lines : [...lines, this.#finish()]
  }

  #take(text: string): Array<RawLine> {
    const parts = text.split("\n")
    return parts.flatMap((part, index) => {
      this.#append(part)
      return index < parts.length - 1 ? [this.#finish()] : []
    })
  }

  #append(part: string): void {
    this.#pending += part
    if (this.#pending.length <= maxRawLength) return
    // Of an endless progress bar, only the last version matters.
    const restart = this.#pending.lastIndexOf("\r", this.#pending.length - 2) + 1
    if (restart > 0) {
      this.#pending = this.#pending.slice(restart)
      this.#isCut = false
    }
    if (this.#pending.length > maxRawLength) {
      this.#pending = this.#pending.slice(0, maxRawLength)
      this.#isCut = true
    }
  }

  #finish(): RawLine {
    const isCut = this.#isCut
    const pending = this.#pending
    const line = { text: control.test(pending) ? clean(lastVersion(pending)) : pending, isCut }
    this.#pending = ""
    this.#isCut = false
    return line
  }
}
