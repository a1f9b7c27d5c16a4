/** Lines of styled text, and how to fit them into a width. The texts have to be sanitized. */
import { displayWidth } from "effect/cli/CliOutput"
import { paint, type Style } from "./style.ts"

export interface Span {
  readonly text: string
  readonly style?: Style | undefined
}

export type Line = ReadonlyArray<Span>

const isAscii = (text: string): boolean => /^[\x20-\x7e]*$/.test(text)

export const widthOf = (text: string): number => (isAscii(text) ? text.length : displayWidth(text))

export const lineWidth = (line: Line): number => line.reduce((sum, { text }) => sum + widthOf(text), 0)

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" })

/** Crops a text to a number of cells. A cropped text ends in `…`. */
export const crop = (text: string, width: number): string => {
  if (displayWidth(text) <= width) return text
  let cropped = ""
  let used = 1
  for (const { segment } of graphemes.segment(text)) {
    used += displayWidth(segment)
    if (used > width) break
    cropped += segment
  }
  return width > 0 ? `${cropped}…` : ""
}

/** Like `crop`, and faster for ASCII and for very long texts. */
export const clip = (text: string, width: number): string => {
  // Measures only the beginning of a very long text.
  const short = text.length > 8 * width ? text.slice(0, Math.max(0, 8 * width)) : text
  if (!isAscii(short)) return crop(short, width)
  if (short.length <= width) return short
  return width > 0 ? `${short.slice(0, width - 1)}…` : ""
}

/** Crops or pads a text to exactly a number of cells. */
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

/** A line with the terminal's codes for its styles. */
export const painted = (line: Line, hasColor: boolean): string =>
  line.map(({ style, text }) => paint(hasColor, style, text)).join("")

/** Wraps phrases onto at most `maxLines` lines after a label. Phrases that do not fit are left out. */
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
