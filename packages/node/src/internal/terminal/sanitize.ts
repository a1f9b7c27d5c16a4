/** Sanitizes texts for a terminal: removes or replaces whatever would move the cursor, change colors, or turn the direction of text. */
import { stripVTControlCharacters } from "node:util"

/** A text on one line. Shows each control character as `�`, and each line break as `⏎`. */
export const sanitizeLine = (text: string): string =>
  sanitizeLines(text.replace(/\s*\n\s*/g, " ⏎ ").replaceAll("\t", " "))

/** A text of several lines. Shows each control character as `�`. */
export const sanitizeLines = (text: string): string =>
  text.replace(/(?![\n\t])[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, "�")

/** A text on one line, without control characters and escape sequences. */
export const strip = (text: string): string =>
  stripVTControlCharacters(text)
    .replace(/[\t\n\v\f\r\u0085\u2028\u2029]+/g, " ")
    .replace(/[\p{Cc}\p{Bidi_Control}]/gu, "")
    .trimEnd()

/** JSON with control characters escaped, which decodes to the same value. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\u007f-\u009f\p{Bidi_Control}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
