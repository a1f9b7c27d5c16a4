/** What people read at the end. */
import { styleText } from "node:util"
import type { EndpointMeasurements, Measurements } from "./measure.ts"
import type { Report } from "./run.ts"

export interface Run {
  readonly report: Report
  readonly measurements: Measurements
  readonly seconds: number
  readonly end: "complete" | "interrupted" | "failed"
}

const paint = (format: Parameters<typeof styleText>[0], text: string) =>
  styleText(format, text, { stream: process.stdout })

export const summarize = (run: Run): string =>
  [[headline(run)], outcomes(run), requests(run.measurements), waiting(run.measurements), problems(run.report)]
    .filter((section) => section.length > 0)
    .map((section) => section.join("\n"))
    .join("\n\n")

const headline = ({ end, report, seconds }: Run): string => {
  const text = `${report.finished.size} of ${report.reserved.size} reserved jobs finished in ${seconds.toFixed(1)} s`
  switch (end) {
    case "complete":
      return paint(["bold", "green"], text)
    case "interrupted":
      return paint(["bold", "yellow"], `Interrupted: ${text}`)
    case "failed":
      return paint(["bold", "red"], `Failed: ${text}`)
  }
}

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/** As wide as the line can be; a file takes any width. */
const terminalWidth = () => (process.stdout.isTTY ? process.stdout.columns || 80 : Number.POSITIVE_INFINITY)

const outcomes = ({ measurements, report }: Run) => {
  const { confirmed, finished, gone, leftForLater, notReserved, reserved, tokens } = report
  if (reserved.size + notReserved.size + gone.size + leftForLater === 0) return []
  const counts = new Map<string, number>()
  for (const title of finished.values()) counts.set(title, (counts.get(title) ?? 0) + 1)
  const open = reserved.size - finished.size
  const rows = Array.from(counts).sort(([, a], [, b]) => b - a)
  const most = Math.max(open, rows[0]?.[1] ?? 1)
  const barWidth = Math.max(1, Math.min(40, terminalWidth() - 24))
  const row = (title: string, count: number, color: Parameters<typeof styleText>[0]) =>
    `  ${title.padEnd(14)}${String(count).padStart(6)}  ${paint(color, "█".repeat(Math.max(1, Math.round((count / most) * barWidth))))}`
  return [
    paint("bold", "Jobs"),
    ...rows.map(([title, count]) => row(title, count, title === "passed" ? "green" : "red")),
    ...(open > 0
      ? [row("not finished", open, "yellow"), "  Those are offered again when their reservations lapse"]
      : []),
    `  They got ${tokens} acquisition tokens and ${measurements.notifications} notifications`,
    ...(confirmed > 0 ? [`  The service calls ${confirmed} of them finished`] : []),
    ...(notReserved.size > 0 ? [`  ${notReserved.size} were reserved by others first`] : []),
    ...(gone.size > 0 ? [`  ${gone.size} were canceled, or given to others`] : []),
    ...(leftForLater > 0 ? [`  ${leftForLater} were left in the queue: they may not start yet`] : [])
  ]
}

// -----------------------------------------------------------------------------
// Requests
// -----------------------------------------------------------------------------

interface Column {
  readonly title: string
  readonly width: number
  readonly value: (measured: Pick<EndpointMeasurements, "latencies" | "retries">) => string
}

const percentile = (title: string, share: number): Column => ({
  title,
  width: 8,
  value: ({ latencies }) => {
    const sorted = latencies.toSorted((a, b) => a - b)
    const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
    return value === undefined ? "" : duration(value)
  }
})

const count: Column = { title: "requests", width: 9, value: ({ latencies }) => String(latencies.length) }
const retries: Column = { title: "retries", width: 8, value: ({ retries }) => String(retries) }
const [p50, p90, p99, max] = [
  percentile("p50", 0.5),
  percentile("p90", 0.9),
  percentile("p99", 0.99),
  percentile("max", 1)
]

/** As many columns as there is room for, the most telling ones first. */
const columnSets: ReadonlyArray<ReadonlyArray<Column>> = [
  [count, retries, p50, p90, p99, max],
  [count, retries, p50, max],
  [count]
]

const titleWidth = 27

const requests = ({ endpoints }: Measurements): ReadonlyArray<string> => {
  if (endpoints.size === 0) return []
  const columns = columnSets.find(
    (set) => titleWidth + set.reduce((sum, { width }) => sum + width, 0) <= terminalWidth()
  ) ?? [count]
  const row = (title: string, value: (column: Column) => string) =>
    title.padEnd(titleWidth) + columns.map((column) => value(column).padStart(column.width)).join("")

  const all = Array.from(endpoints.values())
  const total = {
    latencies: all.flatMap(({ latencies }) => latencies),
    retries: all.reduce((sum, { retries }) => sum + retries, 0)
  }
  return [
    paint(
      "bold",
      row("Requests", ({ title }) => title)
    ),
    ...Array.from(endpoints, ([endpoint, measured]) => row(`  ${endpoint}`, ({ value }) => value(measured))),
    row("  all", ({ value }) => value(total))
  ]
}

const duration = (millis: number): string =>
  millis < 10
    ? `${millis.toFixed(1)} ms`
    : millis < 1000
      ? `${millis.toFixed(0)} ms`
      : `${(millis / 1000).toFixed(2)} s`

// -----------------------------------------------------------------------------
// Waiting and trouble
// -----------------------------------------------------------------------------

const waiting = ({ endpoints, trouble }: Measurements): ReadonlyArray<string> => {
  if (endpoints.size === 0) return []
  const waits = Array.from(endpoints).filter(([, { waits }]) => waits.length > 0)
  const met = Array.from(trouble).sort(([, a], [, b]) => b - a)
  const times = met.reduce((sum, [, count]) => sum + count, 0)
  return [
    paint("bold", "Waits for the rate limits"),
    ...(waits.length === 0
      ? ["  none"]
      : waits.map(
          ([endpoint, { waits }]) =>
            `  ${endpoint.padEnd(25)}${String(waits.length).padStart(9)}   at most ${duration(waits.reduce((a, b) => Math.max(a, b)))}`
        )),
    "",
    paint("bold", "Requests that met trouble"),
    times === 0 ? "  none" : `  ${times}: ${met.map(([kind, count]) => `${count} × ${kind}`).join(", ")}`
  ]
}

const shownProblems = 10

const problems = ({ problems }: Report): ReadonlyArray<string> =>
  problems.length === 0
    ? []
    : [
        paint(["bold", "red"], "Problems"),
        ...problems.slice(0, shownProblems).map((problem) => `  ${problem}`),
        ...(problems.length > shownProblems ? [`  and ${problems.length - shownProblems} more`] : [])
      ]
