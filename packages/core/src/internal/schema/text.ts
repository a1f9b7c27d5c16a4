/** Texts that fit the service's limits, or a log. */

const maxMessageLength = 1000

/** A text from outside for one line of a log: no line breaks, no escape codes, nothing that turns around, no end of it. */
export const oneLine = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+/gu, " ")
    .trim()
    .slice(0, maxMessageLength)

/** The mark at the end of a text that was cut. */
const CropMark = "… (cropped)"

const encoder = new TextEncoder()

/** The text as valid Unicode, cut between characters so that it takes at most `maxBytes` bytes of UTF-8, mark included. */
export const cropBytes = (text: string, maxBytes: number): string => {
  const valid = text.toWellFormed()
  // A UTF-16 unit takes at most 3 bytes: short texts need no measuring.
  if (valid.length * 3 <= maxBytes || encoder.encode(valid).byteLength <= maxBytes) return valid
  const room = new Uint8Array(maxBytes - encoder.encode(CropMark).byteLength)
  return valid.slice(0, encoder.encodeInto(valid, room).read) + CropMark
}

/** The text as valid Unicode, cut to at most `maxLength` characters (code points), mark included. */
export const cropCharacters = (text: string, maxLength: number): string => {
  const valid = text.toWellFormed()
  if (valid.length <= maxLength) return valid
  const characters = Array.from(valid)
  return characters.length <= maxLength
    ? valid
    : characters.slice(0, maxLength - Array.from(CropMark).length).join("") + CropMark
}
