/** Random ids and texts that are the same for the same seed. */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

export interface SeededRandom {
  /** A number from 0 up to, not including, 1. */
  readonly next: () => number
  readonly uuid: () => string
  /** A text of letters and digits. */
  readonly text: (length: number) => string
}

export const make = (seed: string | number): Effect.Effect<SeededRandom> =>
  Effect.map(Random.withSeed(Random.Random, seed), (random) => {
    const below = (limit: number): number => Math.floor(random.nextDoubleUnsafe() * limit)
    const hex = (digits: number): string =>
      below(16 ** digits)
        .toString(16)
        .padStart(digits, "0")
    return {
      next: () => random.nextDoubleUnsafe(),
      uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-${"89ab"[below(4)]}${hex(3)}-${hex(12)}`,
      text: (length) => Array.from({ length }, () => alphabet[below(alphabet.length)]).join("")
    }
  })

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
