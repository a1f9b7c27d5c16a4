import type { Benchmark } from "./benchmarks.ts"
import type { Measurement } from "./measure.ts"

/** A contender's figures over all rounds. Ratios are relative to the baseline of the same round. */
export interface Row {
  readonly contender: string
  readonly cpuRatio: Spread
  readonly wallRatio: Spread
  /** Ratios of the memory in use, and of the memory of the process. */
  readonly memoryRatio: Spread
  readonly residentRatio: Spread
  /** Microseconds for one unit. */
  readonly cpuMicros: Spread
  readonly wallMicros: Spread
  /** Kilobytes of heap that are allocated for one unit. */
  readonly garbage: Spread
}

export interface Spread {
  readonly min: number
  readonly median: number
}

export const spread = (values: ReadonlyArray<number>): Spread => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (index: number) => sorted[index] ?? Number.NaN
  return { min: at(0), median: (at((sorted.length - 1) >> 1) + at(sorted.length >> 1)) / 2 }
}

/** The rows of the contenders. Each round has one measurement for each of them, the baseline's first. */
export const summarize = (
  { units }: Benchmark,
  contenders: ReadonlyArray<string>,
  rounds: ReadonlyArray<ReadonlyArray<Measurement>>
): Array<Row> =>
  contenders.map((contender, index) => {
    const over = (f: (own: Measurement, baseline: Measurement) => number) =>
      spread(
        rounds.flatMap((round) => {
          const own = round[index]
          const [baseline] = round
          return own === undefined || baseline === undefined ? [] : [f(own, baseline)]
        })
      )
    return {
      contender,
      cpuRatio: over((own, baseline) => own.cpu / baseline.cpu),
      wallRatio: over((own, baseline) => own.wall / baseline.wall),
      memoryRatio: over((own, baseline) => own.memory / baseline.memory),
      residentRatio: over((own, baseline) => own.resident / baseline.resident),
      cpuMicros: over((own) => own.cpu / units),
      wallMicros: over((own) => own.wall / units),
      garbage: over((own) => own.allocated / units / 1000)
    }
  })

/** The largest share of the measured time in which other processes used the contender's core. */
export const disturbance = (rounds: ReadonlyArray<ReadonlyArray<Measurement>>): number =>
  Math.max(...rounds.flat().map(({ disturbed, wall }) => disturbed / wall))

export const benchmarkTable = ({ title, unit }: Benchmark, rows: ReadonlyArray<Row>): string =>
  table(
    title,
    [
      "",
      "CPU × min",
      "median",
      "wall × min",
      "median",
      "memory × min",
      "median",
      `CPU µs/${unit}`,
      `wall µs/${unit}`,
      `garbage kB/${unit}`
    ],
    rows.map(({ contender, cpuMicros, cpuRatio, garbage, memoryRatio, wallMicros, wallRatio }) => [
      contender,
      ...[cpuRatio, wallRatio, memoryRatio].flatMap(({ median, min }) => [min.toFixed(2), median.toFixed(2)]),
      ...[cpuMicros, wallMicros, garbage].map(({ median }) => median.toFixed(median < 100 ? 1 : 0))
    ])
  )

/** A table with a title. The first column is left-aligned. */
export const table = (
  title: string,
  head: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>
): string => {
  const cells = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  const lines = cells.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
  )
  return [title, ...lines.map((line) => `  ${line}`)].join("\n")
}
