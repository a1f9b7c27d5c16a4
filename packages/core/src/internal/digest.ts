/** A short hash for names. It protects nothing. */

const offset = 0x6c62272e07bb014262b821756295c58dn
const prime = 0x0000000001000000000000000000013bn

/** FNV-1a of 128 bits, as 25 letters and digits. */
export const digest = (text: string): string => {
  let hash = offset
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(128, (hash ^ BigInt(byte)) * prime)
  return hash.toString(36).padStart(25, "0")
}
