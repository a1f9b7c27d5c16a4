/** The implementation of `StackView`. */
import type { StackEvent } from "@stacksapi/core/StackEvent"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import type { ClusterEvent } from "../../ClusterStack.ts"
import type * as JobOutput from "../../JobOutput.ts"
import type { Format, Options, View, Watched } from "../../StackView.ts"
import * as Check from "../options.ts"
import * as AlternateScreen from "../terminal/alternateScreen.ts"
import * as Messages from "../terminal/messages.ts"
import * as Sanitize from "../terminal/sanitize.ts"
import { painted } from "../terminal/text.ts"
import * as Events from "./events.ts"
import { render, type ViewModel } from "./frame.ts"
import * as Gauges from "./gauges.ts"
import { isOfEvent, Logs, toKeptLog } from "./logs.ts"
import { outcomes, Stats } from "./stats.ts"
import * as Summary from "./summary.ts"
import * as Traffic from "./traffic.ts"
import * as Troubles from "./troubles.ts"

/** Often enough to look alive, and seldom enough to cost nothing. */
const redrawInterval = "100 millis"
/** How often the view asks watched stacks what keeps them from taking jobs. */
const troubleInterval = "1 second"

/** What the parts of a view share. */
interface State {
  readonly format: View["format"]
  readonly canColor: boolean
  readonly startedAt: number
  readonly output: JobOutput.Service | undefined
  readonly stats: Stats
  readonly logs: Logs
  readonly watched: Set<Watched>
  readonly readTraffic: (now: number) => Effect.Effect<Traffic.Traffic>
  readonly terminal: Terminal.Terminal
  /** Whether the alternate screen is in use. */
  isLive: boolean
  isOfCluster: boolean
}

export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<View, InvalidOptions, Scope.Scope | Stdio.Stdio | Terminal.Terminal> {
  yield* Check.oneOf("format", options.format, ["auto", "live", "lines", "json"])
  const stdio = yield* Stdio.Stdio
  const format = yield* choose(options.format ?? "auto")
  const startedAt = yield* Clock.currentTimeMillis
  const state: State = {
    format,
    canColor: (yield* TerminalCapabilities).canColor,
    startedAt,
    output: options.output,
    stats: new Stats(options.labelOf),
    logs: new Logs(),
    watched: new Set(),
    readTraffic: yield* Traffic.make(startedAt),
    terminal: yield* Terminal.Terminal,
    isLive: format === "live",
    isOfCluster: false
  }
  // The finalizers run in reverse order: drawing ends, the terminal is restored, then the summary is printed.
  yield* Effect.addFinalizer(() => summarize(state, options.summary !== false))
  if (state.isLive) yield* drawUntilClosed(state)
  yield* Effect.forkScoped(
    Effect.repeat(
      Effect.forEach(state.watched, (watched) => recordTroubles(state, watched), { discard: true }),
      Schedule.spaced(troubleInterval)
    )
  )
  if (options.printOutput === true) yield* printOutput(state)

  const { logs, stats, watched } = state
  const hasLogFile = !(yield* stdio.stderrIsTerminal)
  const toStderr = Logger.withConsoleError(format === "json" ? Messages.logToJson : Messages.logToLines)
  const print = makePrinter(state)

  return {
    format,
    onEvent: (event, queueKey) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        stats.record(event, now, queueKey)
        return print(event, now, queueKey)
      }),
    onClusterEvent: (event, queueKey) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        state.isOfCluster = true
        stats.recordClusterEvent(event, now, queueKey)
        return print(event, now, queueKey)
      }),
    watch: (stack) =>
      Effect.suspend(() => {
        watched.add(stack)
        return recordTroubles(state, stack)
      }),
    print: (text) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) =>
        state.isLive
          ? Effect.sync(() => logs.add({ at, text: Sanitize.strip(text), full: Sanitize.sanitizeLines(text) }))
          : Console.error(
              format === "json" ? Messages.toJson({ level: "info", message: text }, at) : Sanitize.sanitizeLines(text)
            )
      ),
    logger: Logger.make((options) => {
      if (isOfEvent(options)) return
      if (state.isLive && !hasLogFile) logs.add(toKeptLog.log(options))
      else toStderr.log(options)
    })
  }
})

const recordTroubles = ({ stats }: State, watched: Watched): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.map(Troubles.of(watched), (troubles) => stats.recordTroubles(watched, troubles, now))
  )

const choose = Effect.fnUntraced(function* (format: Format): Effect.fn.Return<View["format"]> {
  if (format !== "auto") return format
  const { canAnimate } = yield* TerminalCapabilities
  const ci = yield* Effect.orElseSucceed(Config.option(Config.String("CI")), () => Option.none())
  return canAnimate && Option.getOrElse(ci, () => "") === "" ? "live" : "lines"
})

const titleOf = ({ isOfCluster, stats }: State): string => {
  const [first, ...others] = Array.from(stats.stacks, ([key, queue]) => Sanitize.strip(`${key} · queue ${queue}`))
  if (first !== undefined) return others.length === 0 ? first : `${others.length + 1} stacks`
  return isOfCluster ? "led no queue" : ""
}

// -----------------------------------------------------------------------------
// Lines and JSON
// -----------------------------------------------------------------------------

/** Prints events as lines or JSON. Skips a poll that found the same as the previous one. */
const makePrinter = ({ canColor, format, stats }: State) => {
  const lastPolls = new Map<string | undefined, string>()
  return (event: StackEvent | ClusterEvent, now: number, queueKey?: string): Effect.Effect<void> => {
    if (format === "live") return Effect.void
    if (format === "json") return Console.log(Sanitize.json(Events.toJson(event, now, queueKey)))
    if (event._tag === "Polled") {
      const poll = `${event.listed} ${event.startable}`
      if (poll === lastPolls.get(queueKey)) return Effect.void
      lastPolls.set(queueKey, poll)
    }
    return Console.log(
      painted(
        Events.toLine(event, now, (job) => stats.nameOf(job), queueKey),
        canColor
      )
    )
  }
}

/** Prints the lines of jobs in the background until the scope closes. The live view shows the last line of each job itself. */
const printOutput = ({ canColor, format, output, stats }: State) => {
  if (format === "live" || output === undefined) return Effect.void
  const textOf = (line: JobOutput.Line): string => {
    if (format === "json") return Sanitize.json(Events.outputToJson(line))
    const running = stats.running.get(line.jobUuid)
    return painted(
      Events.outputToLine(line, running === undefined ? Sanitize.strip(line.jobUuid) : stats.nameOf(running.job)),
      canColor
    )
  }
  return Effect.forkScoped(
    Stream.runForEach(Stream.chunks(output.lines), (lines) => Console.log(lines.map(textOf).join("\n"))),
    { startImmediately: true }
  )
}

/** Prints the log lines that the live view kept, and the summary. */
const summarize = Effect.fnUntraced(function* (state: State, hasSummary: boolean) {
  const { canColor, format, logs, readTraffic, startedAt, stats, terminal } = state
  for (const { full } of logs.kept) yield* Console.error(full)
  // A stack that did not start has nothing to sum up.
  if (!hasSummary || !(stats.hasBegun || state.isOfCluster)) return
  const now = yield* Clock.currentTimeMillis
  const input = { stats, traffic: yield* readTraffic(now), title: titleOf(state), startedAt, now }
  if (format === "json") return yield* Console.log(Sanitize.json(Summary.toJson(input)))
  const width = format === "live" ? (yield* sizeOf(terminal)).columns - 1 : Number.POSITIVE_INFINITY
  yield* Console.log(
    Summary.toLines(input, width)
      .map((line) => painted(line, canColor))
      .join("\n")
  )
})

// -----------------------------------------------------------------------------
// The live view
// -----------------------------------------------------------------------------

/** Redraws the live view in the background until the scope closes. */
const drawUntilClosed = Effect.fnUntraced(function* (state: State) {
  const { canColor, terminal } = state
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      state.isLive = false
    })
  )
  const screen = yield* AlternateScreen.make(terminal)
  const draw = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const size = yield* sizeOf(terminal)
    const lines = render(yield* readModel(state, now, size.rows), size, now)
    yield* screen.draw(
      lines.map((line) => painted(line, canColor)),
      size
    )
  })
  yield* Effect.forkScoped(Effect.repeat(draw, Schedule.spaced(redrawInterval)))
})

/** Reads everything that the live view shows, with at most `maxJobs` running jobs. */
const readModel = Effect.fnUntraced(function* (state: State, now: number, maxJobs: number) {
  const { logs, output, readTraffic, startedAt, stats, watched } = state
  const gauges = yield* Effect.forEach(watched, Gauges.of)
  const sum = (f: (gauges: Gauges.Gauges) => number) => gauges.reduce((total, gauges) => total + f(gauges), 0)
  const isKnown = gauges.length > 0
  const cluster = gauges.find(({ cluster }) => cluster !== undefined)?.cluster
  const jobs = yield* Effect.forEach(Array.from(stats.running.values()).slice(0, maxJobs), ({ job, startedAt }) =>
    Effect.map(output === undefined ? Effect.succeed([]) : output.tail(job.id), (tail) => {
      const last = tail.findLast((line) => line !== "")
      return { name: stats.nameOf(job), startedAt, lastLine: last === undefined ? undefined : Sanitize.strip(last) }
    })
  )
  return {
    title: cluster === undefined ? titleOf(state) : Sanitize.strip(cluster.title),
    phase: cluster === undefined ? stats.phase : cluster.phase,
    startedAt,
    slots: isKnown ? { taken: sum(({ taken }) => taken), max: sum(({ slots }) => slots) } : undefined,
    pending: isKnown ? sum(({ pending }) => pending) : undefined,
    backingOff: sum(({ backingOff }) => backingOff),
    outcomes: outcomes.flatMap((outcome) => {
      const count = stats.ended.get(outcome)
      return count === undefined ? [] : [[outcome, count] as const]
    }),
    throughput: (stats.endedCount * 1000) / Math.max(1000, now - startedAt),
    traffic: yield* readTraffic(now),
    running: { total: stats.running.size, jobs },
    problems: {
      total: Array.from(stats.problemCounts.values()).reduce((a, b) => a + b, 0),
      last: stats.problems
    },
    logs: logs.kept
  } satisfies ViewModel
})

/** The size of a terminal. One that does not report its size gets 80 × 24. */
const sizeOf = (terminal: Terminal.Terminal) =>
  Effect.zipWith(terminal.columns, terminal.rows, (columns, rows) => ({
    columns: columns > 0 ? columns : 80,
    rows: rows > 0 ? rows : 24
  }))
