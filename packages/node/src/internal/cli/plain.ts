/**
 * Texts from elsewhere on their way to a terminal. What would move the cursor, color what follows, or turn its direction, is
 * shown and not done.
 */

/** One line. */
export const printable = (text: string): string => lines(text.replace(/\s*\n\s*/g, " ⏎ ").replaceAll("\t", " "))

/** Several lines. */
export const lines = (text: string): string => text.replace(/(?![\n\t])[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, "�")

/** JSON that means the same to whoever reads it. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\u007f-\u009f\p{Bidi_Control}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
