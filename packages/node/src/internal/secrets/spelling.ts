/**
 * A spelling in which programs print a secret. For each spelling, secrets and text are normalized and then compared:
 *
 * - `plainSpelling.ts`: with any white space between words;
 * - `escapedSpelling.ts`: without quotes, and without the escapes of JSON, shells (`%q`, `set -x`), URLs and most languages;
 * - `base64Spelling.ts`: in the standard or the URL-safe alphabet, at any position within the encoded data, on one or more lines.
 */
import type { Sources } from "./automaton.ts"
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

export const space = 0x20
export const percent = 0x25
export const plus = 0x2b
export const minus = 0x2d
export const slash = 0x2f
export const backslash = 0x5c
export const underscore = 0x5f

export const spaces: ReadonlyArray<number> = [space, 0x09, 0x0a, 0x0b, 0x0c, 0x0d]

export const isSpace = (code: number): boolean => code === space || (code >= 0x09 && code <= 0x0d)

export const codesOf = (text: string): Uint16Array => {
  const codes = new Uint16Array(text.length)
  for (let index = 0; index < text.length; index++) codes[index] = text.charCodeAt(index)
  return codes
}
