/** Crops texts to the service's limits, and cleans them for logs. */

const maxMessageLength = 1000

/** A text from outside, for one line of a log: without line breaks, control characters and bidirectional controls, and cropped. */
export const oneLine = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+/gu, " ")
    .trim()
    .slice(0, maxMessageLength)

/** The mark at the end of a cropped text. */
const CropMark = "… (cropped)"

const encoder = new TextEncoder()

/** The text as valid Unicode, cropped between characters to at most `maxBytes` bytes of UTF-8, including the mark. */
export const cropBytes = (text: string, maxBytes: number): string => {
  const valid = text.toWellFormed()
  // A UTF-16 unit is at most 3 bytes, so a short text always fits.
  if (valid.length * 3 <= maxBytes || encoder.encode(valid).byteLength <= maxBytes) return valid
  const room = new Uint8Array(maxBytes - encoder.encode(CropMark).byteLength)
  return valid.slice(0, encoder.encodeInto(valid, room).read) + CropMark
}

/** The text as valid Unicode, cropped to at most `maxLength` characters (code points), including the mark. */
export const cropCharacters = (text: string, maxLength: number): string => {
  const valid = text.toWellFormed()
  if (valid.length <= maxLength) return valid
  const characters = Array.from(valid)
  return characters.length <= maxLength
    ? valid
    : characters.slice(0, maxLength - Array.from(CropMark).length).join("") + CropMark
}
