/** How the run goes: a bar on a terminal, a few lines elsewhere. */
import { styleText } from "node:util"
import { Clock, Console, Effect, Schedule } from "effect"
import type { Report } from "./run.ts"

/**
 * Shows a report until the scope closes, and gives the function that says something besides. The bar is drawn on stderr, so
 * that stdout may go to a file.
 */
export const show = Effect.fn("demo.show")(function* (report: Report, expected: number) {
  const isAnimated = process.stderr.isTTY === true && (process.env["CI"] ?? "") === "" && process.env["TERM"] !== "dumb"
  return yield* isAnimated ? showBar(report, expected) : showLines(report, expected)
})

const jobsOf = (report: Report, expected: number) => Math.max(expected, report.reserved.size)

// -----------------------------------------------------------------------------
// On a terminal
// -----------------------------------------------------------------------------

const showBar = Effect.fnUntraced(function* (report: Report, expected: number) {
  const startedAt = yield* Clock.currentTimeMillis
  // Drawn with nothing but carriage returns and blanks: no terminal is too simple for that. Two columns stay free for the
  // ^C that a terminal writes there, and one because writing into the last can move the cursor to the next line.
  let shown = 0
  const write = (text: string, length: number) => {
    process.stderr.write(`\r${text}${" ".repeat(Math.max(0, shown - length))}`)
    shown = length
  }
  const draw = Effect.map(Clock.currentTimeMillis, (now) => {
    const width = Math.max(1, (process.stderr.columns || 80) - 3)
    shown = Math.min(shown, width)
    const { length, text } = bar(report, jobsOf(report, expected), (now - startedAt) / 1000, width)
    write(text, length)
  })
  const erase = Effect.sync(() => {
    if (shown > 0) shown += 2
    write("", 0)
    process.stderr.write("\r")
  })

  yield* Effect.addFinalizer(() => erase)
  yield* Effect.forkScoped(Effect.repeat(draw, Schedule.spaced("80 millis")))
  return (line: string) => erase.pipe(Effect.andThen(Console.log(line)), Effect.andThen(draw))
})

const minBarWidth = 8

/** `█████▒▒░░░░░  52/234 jobs  1.2 s  running`: finished, reserved, left. Where it is narrow, less text stands beside it. */
const bar = (report: Report, jobs: number, seconds: number, width: number) => {
  const count = `${report.finished.size}/${jobs}`.padStart(2 * String(jobs).length + 1)
  const time = `${seconds.toFixed(1)} s`.padStart(6)
  const activity = report.activity.padEnd(longestActivity)
  const beside = [`  ${count} jobs ${time}  ${activity}`, `  ${count} jobs ${time}`, `  ${count}`]
  const text = beside.find((text) => minBarWidth + text.length <= width)
  if (text === undefined) return { text: count.slice(0, width), length: Math.min(count.length, width) }

  const barWidth = width - text.length
  const cells = (n: number) => (jobs === 0 ? 0 : Math.floor((n / jobs) * barWidth))
  const finished = cells(report.finished.size)
  const reserved = Math.max(0, cells(report.reserved.size) - finished)
  const paint = (color: "green" | "cyan" | "dim", cell: string, n: number) =>
    n === 0 ? "" : styleText(color, cell.repeat(n), { stream: process.stderr })
  const cellsText =
    paint("green", "█", finished) + paint("cyan", "▒", reserved) + paint("dim", "░", barWidth - finished - reserved)
  return { text: cellsText + text, length: width }
}

/** That of `registering`. The bar must not change its length with what is done. */
const longestActivity = 11

// -----------------------------------------------------------------------------
// Elsewhere
// -----------------------------------------------------------------------------

const showLines = Effect.fnUntraced(function* (report: Report, expected: number) {
  const startedAt = yield* Clock.currentTimeMillis
  let told = 0
  const tell = Effect.suspend(() => {
    const jobs = jobsOf(report, expected)
    const finished = report.finished.size
    // About four lines for any number of jobs.
    const step = Math.max(50, Math.ceil(jobs / 4))
    if (finished < told + step || finished === jobs) return Effect.void
    told = finished - (finished % step)
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Console.log(`${finished} of ${jobs} jobs finished after ${((now - startedAt) / 1000).toFixed(1)} s`)
    )
  })
  yield* Effect.forkScoped(Effect.repeat(tell, Schedule.spaced("100 millis")))
  return (line: string) => Console.log(line)
})
