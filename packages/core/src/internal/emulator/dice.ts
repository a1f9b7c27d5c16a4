/** Reproducible randomness: the same seed gives the same ids and the same faults. */
export interface Dice {
  /** A number from 0 up to, not including, 1. */
  readonly next: () => number
  readonly uuid: () => string
  /** A text of letters and digits. */
  readonly text: (length: number) => string
}

export const make = (seed: number): Dice => {
  const word = mulberry32(seed)
  const hex = (digits: number): string => word().toString(16).padStart(8, "0").slice(0, digits)
  return {
    next: () => word() / 2 ** 32,
    uuid: () => {
      const variant = "89ab"[word() >>> 30]
      return `${hex(8)}-${hex(4)}-4${hex(3)}-${variant}${hex(3)}-${hex(8)}${hex(4)}`
    },
    text: (length) => Array.from({ length }, () => alphabet[word() % alphabet.length]).join("")
  }
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/** The generator mulberry32: 32 random bits a call. */
const mulberry32 = (seed: number) => {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t ^ (t >>> 14)) >>> 0
  }
}
