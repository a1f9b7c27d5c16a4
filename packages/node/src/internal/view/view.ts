/** A view at work. */
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
import * as Terminal from "effect/Terminal"
import type { ClusterEvent } from "../../ClusterStack.ts"
import type { Format, Options, View, Watched } from "../../StackView.ts"
import * as Plain from "../cli/plain.ts"
import * as Check from "../options.ts"
import * as Events from "./events.ts"
import { type Picture, render } from "./frame.ts"
import * as Levels from "./levels.ts"
import { brief, isOfEvent, Logs } from "./logs.ts"
import * as Screen from "./screen.ts"
import * as Summary from "./summary.ts"
import { nameOf, outcomes, Tally } from "./tally.ts"
import { harmless, painted } from "./text.ts"
import * as Traffic from "./traffic.ts"

/** Often enough to look alive, and seldom enough to cost nothing. */
const redrawInterval = "100 millis"

export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<View, InvalidOptions, Scope.Scope | Stdio.Stdio | Terminal.Terminal> {
  yield* Check.oneOf("format", options.format, ["auto", "live", "lines", "json"])
  const stdio = yield* Stdio.Stdio
  const terminal = yield* Terminal.Terminal
  const { canColor } = yield* TerminalCapabilities
  const format = yield* choose(options.format ?? "auto")
  const startedAt = yield* Clock.currentTimeMillis
  const measure = yield* Traffic.make(startedAt)
  const tally = new Tally()
  const watched = new Set<Watched>()
  const logs = new Logs()
  let isLive = format === "live"
  let isOfCluster = false

  const title = () => {
    const [first, ...others] = Array.from(tally.stacks, ([key, queue]) => harmless(`${key} · queue ${queue}`))
    if (first !== undefined) return others.length === 0 ? first : `${others.length + 1} stacks`
    return isOfCluster ? "led no queue" : ""
  }

  const summarize = Effect.gen(function* () {
    for (const { full } of logs.kept) yield* Console.error(full)
    if (options.summary === false) return
    const now = yield* Clock.currentTimeMillis
    const ended = { tally, traffic: yield* measure(now), title: title(), startedAt, now }
    if (format === "json") return yield* Console.log(Plain.json(Summary.toJson(ended)))
    const width = format === "live" ? (yield* sizeOf(terminal)).columns - 1 : Number.POSITIVE_INFINITY
    yield* Console.log(
      Summary.toLines(ended, width)
        .map((line) => painted(line, canColor))
        .join("\n")
    )
  })

  /** What there is to see, of so many jobs at most. */
  const look = Effect.fnUntraced(function* (now: number, maxJobs: number) {
    const levels = yield* Effect.forEach(watched, Levels.of)
    const sum = (f: (levels: Levels.Levels) => number) => levels.reduce((total, levels) => total + f(levels), 0)
    const isKnown = levels.length > 0
    const cluster = levels.find(({ cluster }) => cluster !== undefined)?.cluster
    const jobs = yield* Effect.forEach(Array.from(tally.running.values()).slice(0, maxJobs), ({ job, startedAt }) =>
      Effect.map(options.output === undefined ? Effect.succeed([]) : options.output.tail(job.id), (tail) => {
        const last = tail.findLast((line) => line !== "")
        return { name: nameOf(job), startedAt, lastLine: last === undefined ? undefined : harmless(last) }
      })
    )
    return {
      title: cluster === undefined ? title() : harmless(cluster.title),
      phase: cluster === undefined ? tally.phase : cluster.phase,
      startedAt,
      slots: isKnown ? { taken: sum(({ taken }) => taken), max: sum(({ slots }) => slots) } : undefined,
      pending: isKnown ? sum(({ pending }) => pending) : undefined,
      backingOff: sum(({ backingOff }) => backingOff),
      outcomes: outcomes.flatMap((outcome) => {
        const count = tally.ended.get(outcome)
        return count === undefined ? [] : [[outcome, count] as const]
      }),
      throughput: (tally.endedCount * 1000) / Math.max(1000, now - startedAt),
      traffic: yield* measure(now),
      running: { total: tally.running.size, jobs },
      troubles: { total: Array.from(tally.kinds.values()).reduce((a, b) => a + b, 0), last: tally.troubles },
      logs: logs.kept
    } satisfies Picture
  })

  // In the end nothing is drawn any more; then the terminal is given back; then there is the summary.
  yield* Effect.addFinalizer(() => summarize)
  if (isLive) {
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isLive = false
      })
    )
    const screen = yield* Screen.make(terminal)
    const draw = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const size = yield* sizeOf(terminal)
      const lines = render(yield* look(now, size.rows), size, now)
      yield* screen.draw(
        lines.map((line) => painted(line, canColor)),
        size
      )
    })
    yield* Effect.forkScoped(Effect.repeat(draw, Schedule.spaced(redrawInterval)))
  }

  const hasLogFile = !(yield* stdio.stderrIsTerminal)
  const toStderr = Logger.withConsoleError(Logger.map(Logger.formatLogFmt, Plain.lines))
  const lastPolls = new Map<string | undefined, string>()

  const tell = (event: StackEvent | ClusterEvent, now: number, queueKey?: string): Effect.Effect<void> => {
    if (format === "live") return Effect.void
    if (format === "json") return Console.log(Plain.json(Events.toJson(event, now, queueKey)))
    if (event._tag === "Polled") {
      const poll = `${event.listed} ${event.startable}`
      if (poll === lastPolls.get(queueKey)) return Effect.void
      lastPolls.set(queueKey, poll)
    }
    return Console.log(painted(Events.toLine(event, now, queueKey), canColor))
  }

  return {
    format,
    onEvent: (event, queueKey) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        tally.note(event, now, queueKey)
        return tell(event, now, queueKey)
      }),
    onClusterEvent: (event, queueKey) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        isOfCluster = true
        tally.noteOfCluster(event, now, queueKey)
        return tell(event, now, queueKey)
      }),
    watch: (stack) =>
      Effect.sync(() => {
        watched.add(stack)
      }),
    print: (text) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) =>
        isLive
          ? Effect.sync(() => logs.add({ at, text: harmless(text), full: Plain.lines(text) }))
          : Console.error(Plain.lines(text))
      ),
    logger: Logger.make((options) => {
      if (isOfEvent(options)) return
      if (isLive && !hasLogFile) logs.add(brief.log(options))
      else toStderr.log(options)
    })
  }
})

const choose = Effect.fnUntraced(function* (format: Format): Effect.fn.Return<View["format"]> {
  if (format !== "auto") return format
  const { canAnimate } = yield* TerminalCapabilities
  const ci = yield* Effect.orElseSucceed(Config.option(Config.String("CI")), () => Option.none())
  return canAnimate && Option.getOrElse(ci, () => "") === "" ? "live" : "lines"
})

/** A terminal that does not tell its size gets what every terminal has. */
const sizeOf = (terminal: Terminal.Terminal) =>
  Effect.zipWith(terminal.columns, terminal.rows, (columns, rows) => ({
    columns: columns > 0 ? columns : 80,
    rows: rows > 0 ? rows : 24
  }))
