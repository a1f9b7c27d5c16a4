/** Lines of text that are safe to show, and fit. */
import { stripVTControlCharacters } from "node:util"
import { displayWidth } from "effect/cli/CliOutput"
import { paint, type Style } from "../cli/screen.ts"
import { crop } from "../cli/table.ts"

export interface Span {
  readonly text: string
  readonly style?: Style | undefined
}

export type Line = ReadonlyArray<Span>

/** Takes out what could move the cursor, color what follows, or turn its direction; on one line. */
export const harmless = (text: string): string =>
  stripVTControlCharacters(text)
    .replace(/[\t\n\v\f\r\u0085\u2028\u2029]+/g, " ")
    .replace(/[\p{Cc}\p{Bidi_Control}]/gu, "")
    .trimEnd()

const isPlain = (text: string): boolean => /^[\x20-\x7e]*$/.test(text)

export const widthOf = (text: string): number => (isPlain(text) ? text.length : displayWidth(text))

export const lineWidth = (line: Line): number => line.reduce((sum, { text }) => sum + widthOf(text), 0)

/** A text in so many cells at most; what is cut off leaves a `…`. */
export const clip = (text: string, width: number): string => {
  // Nobody sees the rest of a very long one: don't measure it.
  const short = text.length > 8 * width ? text.slice(0, Math.max(0, 8 * width)) : text
  if (!isPlain(short)) return crop(short, width)
  if (short.length <= width) return short
  return width > 0 ? `${short.slice(0, width - 1)}…` : ""
}

/** A text in exactly so many cells. */
export const fill = (text: string, width: number): string => {
  const fitted = clip(text, width)
  return fitted + " ".repeat(Math.max(0, width - widthOf(fitted)))
}

export const clipLine = (line: Line, width: number): Line => {
  const fitted: Array<Span> = []
  let left = width
  for (const { style, text } of line) {
    if (left <= 0) break
    const part = clip(text, left)
    fitted.push({ text: part, style })
    left -= widthOf(part)
  }
  return fitted
}

/** A line as it is written. */
export const painted = (line: Line, hasColor: boolean): string =>
  line.map(({ style, text }) => paint({ width: undefined, hasColor }, style, text)).join("")

/** Puts phrases one after the other, on as many lines as they need and there may be; what does not fit is left out. */
export const flow = (
  label: Span,
  phrases: ReadonlyArray<Line>,
  { maxLines, width }: { readonly width: number; readonly maxLines: number }
): ReadonlyArray<Line> => {
  const indent = " ".repeat(labelWidth)
  const lines: Array<Array<Span>> = [[{ ...label, text: label.text.padEnd(labelWidth) }]]
  let used = labelWidth
  for (const phrase of phrases) {
    const last = lines.at(-1)
    const needed = lineWidth(phrase) + separator.text.length
    if (used === labelWidth) {
      last?.push(...phrase)
      used += needed - separator.text.length
    } else if (used + needed <= width) {
      last?.push(separator, ...phrase)
      used += needed
    } else if (lines.length < maxLines) {
      lines.push([{ text: indent }, ...phrase])
      used = labelWidth + needed - separator.text.length
    } else {
      break
    }
  }
  return lines.map((line) => clipLine(line, width))
}

export const labelWidth = 10

const separator: Span = { text: " · ", style: "dim" }
