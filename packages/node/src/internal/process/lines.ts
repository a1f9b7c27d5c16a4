/** Bytes that a program prints, as lines of plain text. */

/** Parts of a line that a terminal would not show: sequences that end by themselves, then strings, then single characters. */
const unseen =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about.
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g

/** What any of them begins with. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about.
const control = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/

export const clean = (text: string): string => text.replace(unseen, "")

/** Erases the line, or goes back to its first column: what programs send instead of a carriage return. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about.
const startOver = /\x1b\[(?:2K|[01]?G)/g

/** The last version of a line that overwrites itself. */
const lastVersion = (raw: string): string => {
  const versions = raw.replace(startOver, "\r").replace(/\r+$/, "")
  return versions.slice(versions.lastIndexOf("\r") + 1)
}

/** So much of a line is looked at: enough for a long one with all its colors. */
const maxRawLength = 65_536

/** A line, and whether its end is missing. */
export interface RawLine {
  readonly text: string
  readonly isCut: boolean
}

/**
 * Makes lines of one output's bytes, which may be cut anywhere. What is not UTF-8 becomes U+FFFD. Keeps a bounded part of an
 * endless line.
 */
export class Lines {
  private readonly decoder = new TextDecoder("utf-8")
  private pending = ""
  private isCut = false

  /** The lines that end in these bytes. */
  push(bytes: Uint8Array): Array<RawLine> {
    return this.take(this.decoder.decode(bytes, { stream: true }))
  }

  /** The last line, where nothing ended it. */
  end(): Array<RawLine> {
    const lines = this.take(this.decoder.decode())
    return this.pending === "" ? lines : [...lines, this.finish()]
  }

  private take(text: string): Array<RawLine> {
    const parts = text.split("\n")
    return parts.flatMap((part, index) => {
      this.append(part)
      return index < parts.length - 1 ? [this.finish()] : []
    })
  }

  private append(part: string): void {
    this.pending += part
    if (this.pending.length <= maxRawLength) return
    // An endless progress bar has only one version of interest.
    const restart = this.pending.lastIndexOf("\r", this.pending.length - 2) + 1
    if (restart > 0) {
      this.pending = this.pending.slice(restart)
      this.isCut = false
    }
    if (this.pending.length > maxRawLength) {
      this.pending = this.pending.slice(0, maxRawLength)
      this.isCut = true
    }
  }

  private finish(): RawLine {
    const { isCut, pending } = this
    const line = { text: control.test(pending) ? clean(lastVersion(pending)) : pending, isCut }
    this.pending = ""
    this.isCut = false
    return line
  }
}
