/** Percentiles of any number of durations in little memory: within 2 % of the exact ones. */

const growth = Math.log(1.02)

export class Percentiles {
  /** How many durations fell between one power of 1.02 and the next. */
  readonly #counts = new Map<number, number>()
  #total = 0

  add(millis: number): void {
    const bucket = Math.ceil(Math.log(Math.max(1, millis)) / growth)
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1)
    this.#total++
  }

  /** The duration that the given share (0 to 1) does not exceed, in milliseconds; undefined where there is none. */
  at(share: number): number | undefined {
    let left = Math.max(1, Math.ceil(share * this.#total))
    for (const [bucket, count] of Array.from(this.#counts).sort(([a], [b]) => a - b)) {
      left -= count
      if (left <= 0) return Math.exp(bucket * growth)
    }
    return undefined
  }
}
