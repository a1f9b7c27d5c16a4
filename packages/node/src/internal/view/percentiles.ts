/** Percentiles of durations in constant memory, within 2 % of the exact ones. */

const growth = Math.log(1.02)

export class Percentiles {
  /** How many durations are in each bucket, from one power of 1.02 to the next. */
  readonly #counts = new Map<number, number>()
  #total = 0

  add(millis: number): void {
    const bucket = Math.ceil(Math.log(Math.max(1, millis)) / growth)
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1)
    this.#total++
  }

  /** The duration in milliseconds at a quantile, 0 to 1; undefined without durations. */
  at(quantile: number): number | undefined {
    let left = Math.max(1, Math.ceil(quantile * this.#total))
    for (const [bucket, count] of Array.from(this.#counts).sort(([a], [b]) => a - b)) {
      left -= count
      if (left <= 0) return Math.exp(bucket * growth)
    }
    return undefined
  }
}
