/** What a scenario is given, and what it finds. */
import type { Duration } from "effect"

export interface Order {
  readonly jobs: number
  readonly lockExpiration: Duration.Input
}

export interface Outcome {
  readonly figures: Readonly<Record<string, string | number>>
  readonly problems: ReadonlyArray<string>
}

export const quantile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

export const seconds = (values: ReadonlyArray<number>): string =>
  `p50 ${quantile(values, 0.5).toFixed(1)} s, max ${quantile(values, 1).toFixed(1)} s, of ${values.length}`

/** In seconds. */
export const maxFailover = 10
