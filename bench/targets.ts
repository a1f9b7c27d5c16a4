/** The targets of the benchmarks, and the table of their results. */
import { type Row, type Spread, table } from "./report.ts"

export interface Target {
  readonly work: string
  /** The maximum or minimum of the figure. */
  readonly atMost?: number
  readonly atLeast?: number
  readonly figure: Spread
}

type Rows = Readonly<Record<string, ReadonlyArray<Row> | undefined>>

/** The targets of the benchmarks that ran. */
export const targetsOf = (rows: Rows): Array<Target> => {
  const find = (benchmark: string, contender: string, figure: (row: Row) => Spread) => {
    const row = rows[benchmark]?.find((row) => row.contender === contender)
    return row === undefined ? [] : [figure(row)]
  }
  const cpu = (row: Row) => row.cpuRatio
  return [
    ...find("getJob", "stacksapi", cpu).map((figure) => ({
      work: "getJob, no tracer: CPU × undici",
      atMost: 1.3,
      figure
    })),
    ...find("getJob", "stacksapi, with a rate limit", cpu).map((figure) => ({
      work: "getJob, with a rate limit: CPU × undici",
      atMost: 2.3,
      figure
    })),
    ...find("getJob", "stacksapi, with a tracer", cpu).map((figure) => ({
      work: "getJob, with a tracer: CPU × undici",
      atMost: 3.2,
      figure
    })),
    ...find("list", "stacksapi, listScheduledJobs", cpu).map((figure) => ({
      work: "list 200,000 jobs, page by page: CPU × undici",
      atMost: 1.1,
      figure
    })),
    ...find("list", "stacksapi, ScheduledJobs.stream", cpu).map((figure) => ({
      work: "the same, job by job: CPU × undici",
      atMost: 1.15,
      figure
    })),
    ...find("overlap", "stacksapi, ScheduledJobs.pages", (row) => row.wallRatio).map((figure) => ({
      work: "list, 20 ms of latency and 5 ms of work a page: wall × undici",
      atMost: 0.85,
      figure
    })),
    ...find("memory", "1,000,000 jobs", (row) => row.memoryRatio).map((figure) => ({
      work: "peak memory in use, 1,000,000 jobs streamed × 10,000",
      atMost: 1.1,
      figure
    })),
    ...find("memory", "1,000,000 jobs", (row) => row.residentRatio).map((figure) => ({
      work: "the same, garbage that V8 has not collected yet included",
      figure
    }))
  ]
}

const format = (value: number) => (value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toFixed(2))

const resultOf = ({ atLeast, atMost, figure }: Target): string => {
  if (atMost !== undefined) return figure.median <= atMost ? "yes" : figure.min <= atMost ? "at best" : "no"
  return atLeast === undefined ? "" : figure.median >= atLeast ? "yes" : "no"
}

export const targetTable = (targets: ReadonlyArray<Target>): string =>
  table(
    "Targets",
    ["", "min", "median", "to reach", "reached"],
    targets.map((target) => [
      target.work,
      format(target.figure.min),
      format(target.figure.median),
      target.atMost !== undefined
        ? `<= ${format(target.atMost)}`
        : target.atLeast === undefined
          ? ""
          : `>= ${format(target.atLeast)}`,
      resultOf(target)
    ])
  )
