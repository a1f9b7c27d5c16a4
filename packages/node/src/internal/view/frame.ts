/** Renders the live view: a function of the view model, the size of the terminal and the time. */

import type { Size } from "../terminal/alternateScreen.ts"
import type { Style } from "../terminal/style.ts"
import { clip, clipLine, fill, flow, type Line, labelWidth, lineWidth, type Span, widthOf } from "../terminal/text.ts"
import { age, perSecond, timeOfDay } from "../terminal/times.ts"
import type { Outcome, Problem } from "./stats.ts"
import type { Traffic } from "./traffic.ts"

/** Everything that a frame shows. */
export interface ViewModel {
  /** `my-stack · queue linux`; empty before the stack is registered. */
  readonly title: string
  readonly phase: "starting" | "running" | "paused" | "partitioned" | "draining" | "stopped"
  /** When the view began, in milliseconds. */
  readonly startedAt: number
  readonly slots: { readonly taken: number; readonly max: number } | undefined
  /** Jobs that may start, and jobs that are in backoff. */
  readonly pending: number | undefined
  readonly backingOff: number
  readonly outcomes: ReadonlyArray<readonly [Outcome, number]>
  /** Jobs that ended per second, on average. */
  readonly throughput: number
  readonly traffic: Traffic
  /** The first jobs; `total` counts all. */
  readonly running: { readonly total: number; readonly jobs: ReadonlyArray<RunningJob> }
  /** The last problems, oldest first; `total` counts all. */
  readonly problems: { readonly total: number; readonly last: ReadonlyArray<Problem> }
  readonly logs: ReadonlyArray<LogLine>
}

interface RunningJob {
  readonly name: string
  /** Undefined if it has not started. */
  readonly startedAt: number | undefined
  readonly lastLine: string | undefined
}

export interface LogLine {
  readonly at: number
  readonly text: string
  readonly style?: Style | undefined
}

/** From this number of rows on, the frame has empty lines, and more than one line for what can be long. */
const roomyRows = 20

/** Returns at most as many lines as the terminal has rows, each narrower than the terminal, so that no line wraps. */
export const render = (model: ViewModel, { columns, rows }: Size, now: number): ReadonlyArray<Line> => {
  const width = Math.max(1, columns - 1)
  const isRoomy = rows >= roomyRows
  const gap: ReadonlyArray<Line> = isRoomy ? [[]] : []

  const head = [
    header(model, width, now),
    ...gap,
    ...flow(label("Slots"), [...slots(model, width), ...queue(model)], { width, maxLines: 2 }),
    ...flow(label("Done"), done(model), { width, maxLines: isRoomy ? 2 : 1 }),
    ...flow(label("Requests"), requests(model.traffic), { width, maxLines: isRoomy ? 3 : 1 })
  ]
  const { last, total } = model.problems
  const problems =
    last.length === 0 ? [] : notes({ text: `Problems: ${total}`, style: "red" }, last, isRoomy ? 4 : 1, width)
  const logs = model.logs.length === 0 ? [] : notes(label("Log"), model.logs, isRoomy ? 4 : 1, width)
  const foot = [...(problems.length > 0 ? [...gap, ...problems] : []), ...(logs.length > 0 ? [...gap, ...logs] : [])]
  const room = rows - head.length - foot.length - gap.length
  // With too little room, the running jobs matter more than problems and logs.
  const lines =
    room >= 2
      ? [...head, ...gap, ...running(model, room, width, now), ...foot]
      : [...head.slice(0, Math.max(1, rows - 2)), ...running(model, Math.min(2, rows - 1), width, now)]
  return lines.slice(0, rows)
}

const label = (text: string): Span => ({ text, style: "bold" })

const phaseStyles: Record<ViewModel["phase"], Style> = {
  starting: "dim",
  running: "green",
  paused: "yellow",
  partitioned: "red",
  draining: "yellow",
  stopped: "dim"
}

const header = ({ phase, startedAt, title }: ViewModel, width: number, now: number): Line => {
  const right: Line = [{ text: phase, style: phaseStyles[phase] }, { text: ` ${age(now - startedAt)}` }]
  const left = width - lineWidth(right) - 2
  return left < 8
    ? clipLine(right, width)
    : [{ text: fill(title === "" ? "Registering" : title, left), style: "bold" }, { text: "  " }, ...right]
}

const slots = ({ slots }: ViewModel, width: number): ReadonlyArray<Line> => {
  if (slots === undefined) return [[{ text: "not known yet" }]]
  const { max, taken } = slots
  const cells = width >= 60 ? 16 : 0
  const full = max === 0 ? 0 : Math.min(cells, Math.ceil((taken / max) * cells))
  const bar: Line =
    cells === 0
      ? []
      : [{ text: "█".repeat(full), style: "cyan" }, { text: "░".repeat(cells - full), style: "dim" }, { text: " " }]
  return [[...bar, { text: `${taken} of ${max} taken` }], [{ text: `${Math.max(0, max - taken)} free` }]]
}

const queue = ({ backingOff, pending }: ViewModel): ReadonlyArray<Line> => [
  ...(pending === undefined ? [] : [[{ text: `${pending} pending`, style: "bold" } as const]]),
  ...(backingOff === 0 ? [] : [[{ text: `${backingOff} backing off` }]])
]

const outcomeStyles: Record<Outcome, Style | undefined> = {
  passed: "green",
  failed: "red",
  "by agents": "green",
  "stack error": "red",
  canceled: "yellow",
  interrupted: "yellow",
  lost: "yellow",
  released: "yellow"
}

const done = ({ outcomes, throughput }: ViewModel): ReadonlyArray<Line> =>
  outcomes.length === 0
    ? [[{ text: "nothing yet", style: "dim" }]]
    : [
        ...outcomes.map(([outcome, count]) => [{ text: `${count} ${outcome}`, style: outcomeStyles[outcome] }]),
        [{ text: perSecond(throughput) }]
      ]

/** The limits with the least left come first. */
const requests = ({ rate, retries, scopes, waits }: Traffic): ReadonlyArray<Line> => [
  [{ text: `${rate}/s` }],
  ...scopes
    .map(({ limit, name, used }) => ({ limit, name, left: Math.max(0, limit - used) }))
    .sort((a, b) => a.left / a.limit - b.left / b.limit)
    .map(
      ({ left, limit, name }): Line => [
        { text: `${name} ${left}/${limit} left`, style: left * 5 < limit ? "yellow" : undefined }
      ]
    ),
  ...(retries === 0 ? [] : [[{ text: `${retries} retried`, style: "yellow" } as const]]),
  ...(waits === 0 ? [] : [[{ text: `${waits} had to wait` }]])
]

/** The last notes under their label, or beside it if there is only one line. */
const notes = (
  label: Span,
  all: ReadonlyArray<{
    readonly at: number
    readonly text: string
    readonly count?: number
    readonly style?: Style | undefined
  }>,
  maxLines: number,
  width: number
): ReadonlyArray<Line> => {
  const line = ({ at, count = 1, style, text }: (typeof all)[number]): Line => [
    { text: `${timeOfDay(at)} `, style: "dim" },
    ...(count > 1 ? [{ text: `${count} × ` }] : []),
    { text, style }
  ]
  const [only] = all.slice(-1)
  if (maxLines === 1) {
    return only === undefined
      ? []
      : [clipLine([{ ...label, text: `${label.text.padEnd(labelWidth - 1)} ` }, ...line(only)], width)]
  }
  return [[label], ...all.slice(1 - maxLines).map((note) => clipLine([{ text: "  " }, ...line(note)], width))].map(
    (line) => clipLine(line, width)
  )
}

/** The running jobs in a number of rows: a heading, a row for each, and one row for those that don't fit. */
const running = (
  { running: { jobs, total } }: ViewModel,
  rows: number,
  width: number,
  now: number
): ReadonlyArray<Line> => {
  const heading = clipLine(
    total === 0 ? [label("No job is running")] : [label("Running"), { text: `: ${total}` }],
    width
  )
  const room = Math.max(0, rows - 1)
  const shown = jobs.slice(0, total > room ? Math.max(0, room - 1) : room)
  const more = total - shown.length
  const nameWidth = Math.min(
    Math.max(8, Math.floor(width * 0.4)),
    shown.reduce((most, { name }) => Math.max(most, widthOf(name)), 0)
  )
  return [
    heading,
    ...shown.map(({ lastLine, name, startedAt }) => {
      const time = startedAt === undefined ? "…" : age(now - startedAt)
      return clipLine(
        [
          { text: `${time.padStart(7)} `, style: "dim" },
          { text: fill(name, nameWidth) },
          { text: lastLine === undefined ? "" : `  ${clip(lastLine, width)}`, style: "dim" }
        ],
        width
      )
    }),
    ...(more > 0 && room > 0 ? [clipLine([{ text: `  + ${more} more`, style: "dim" }], width)] : [])
  ]
}
