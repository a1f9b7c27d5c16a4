/** A view as people and programs read it, while its time is a test's. */
import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stack, StackEvent, Stacks, StacksError, type StacksSchema } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { type JobOutput, StackView } from "@stacksapi/node"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import {
  ConfigProvider,
  DateTime,
  Duration,
  Effect,
  Exit,
  Layer,
  Logger,
  Metric,
  Queue,
  Redacted,
  Scope,
  Stdio,
  Stream,
  Terminal
} from "effect"
import { TerminalCapabilities } from "effect/cli"
import { Headers, HttpClientResponse } from "effect/http"
import { TestClock, TestConsole } from "effect/testing"
import { type Picture, render } from "../../packages/node/src/internal/view/frame.ts"
import { lineWidth, painted } from "../../packages/node/src/internal/view/text.ts"
import { addJobs, clientVia, done, emulated, type Run, slowly, takes } from "../support/stacks.ts"
import { screenAfter } from "../support/terminal.ts"

const { Fault } = StacksEmulator

/** A terminal whose size can change, and that remembers what was written to it. */
class Desk {
  size = { columns: 80, rows: 24 }
  readonly written: Array<string> = []

  readonly layer = (
    surroundings: {
      readonly isTerminal?: boolean
      readonly stderrIsTerminal?: boolean
      readonly canColor?: boolean
    } = {}
  ) => {
    const { canColor = false, isTerminal = true, stderrIsTerminal = true } = surroundings
    return Layer.mergeAll(
      Layer.succeed(
        Terminal.Terminal,
        Terminal.make({
          columns: Effect.sync(() => this.size.columns),
          rows: Effect.sync(() => this.size.rows),
          size: Queue.unbounded(),
          readInput: Queue.unbounded(),
          readLine: Effect.never,
          display: (text) => Effect.sync(() => void this.written.push(text))
        })
      ),
      Stdio.layerTest({
        stdoutIsTerminal: Effect.succeed(isTerminal),
        stderrIsTerminal: Effect.succeed(stderrIsTerminal)
      }),
      Layer.succeed(TerminalCapabilities.TerminalCapabilities, {
        canColor,
        canAnimate: isTerminal,
        canPrompt: false
      }),
      Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: {} }))
    )
  }

  get screen() {
    return Effect.suspend(() => screenAfter(this.written.join(""), this.size))
  }

  get text() {
    return Effect.map(this.screen, (rows) => rows.join("\n"))
  }
}

/** Counters from zero on. */
const alone = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

const printing = (line: string): JobOutput.Service => ({
  lines: Stream.empty,
  tail: () => Effect.succeed(["an earlier line", line, ""])
})

const endless: Run = () => Effect.never

/** A watched stack of 4 slots on queue `q`; the view ends with the scope. */
const watched = Effect.fnUntraced(function* (
  run: Run,
  options: StackView.Options & { readonly stack?: Partial<Stack.Options> } = {}
) {
  const view = yield* StackView.make({ format: "live", ...options })
  const stack = yield* Stack.make({
    key: "my-stack",
    queueKey: "q",
    maxInFlight: 4,
    shutdownGrace: 0,
    onEvent: view.onEvent,
    ...options.stack
  }).pipe(Effect.provide(Layer.merge(JobRunner.layer(run), Logger.layer([view.logger]))))
  yield* view.watch(stack)
  return { view, stack }
})

const named = (step: string) => ({
  pipeline: { slug: "web" },
  build: { number: 7 },
  step: { key: step }
})

const live = <A, E>(
  use: (desk: Desk) => Effect.Effect<A, E, StacksEmulator.StacksEmulator | Effect.Services<ReturnType<typeof watched>>>
) =>
  Effect.suspend(() => {
    const desk = new Desk()
    return alone(Effect.scoped(use(desk))).pipe(Effect.provide(Layer.merge(desk.layer(), emulated())))
  })

describe("on a terminal", () => {
  it.effect("shows the queue, the slots, the jobs with age and last line, outcomes, requests and limits", () =>
    live((desk) =>
      Effect.gen(function* () {
        yield* addJobs(3, { ...named("quick"), command: "quick", priority: 1 })
        yield* addJobs(6, { ...named("slow"), command: "slow" })
        yield* watched(
          ({ details }) =>
            Effect.flatMap(details, ({ command }) => (command === "quick" ? Effect.succeed(done) : Effect.never)),
          { output: printing("compiling everything") }
        )
        yield* slowly("3 seconds")
        yield* TestClock.adjust("2 minutes")
        const rows = yield* desk.screen
        assert.match(rows[0] ?? "", /^my-stack · queue q {40,}running 2m03s$/)
        const text = rows.join("\n")
        assert.match(text, /^Slots +█{16} 4 of 4 taken · 0 free · 2 pending$/m)
        assert.match(text, /^Done +3 passed · 0\.\d\/s$/m)
        assert.match(text, /^Requests +\d+\/s · .*\blist \d+\/10 left/m)
        assert.match(text, /^Running: 4$/m)
        assert.strictEqual(text.match(/^ +2m0\ds web#7 slow {2}compiling everything$/gm)?.length, 4)
        assert.notInclude(text, "Troubles")
      })
    )
  )

  it.effect("counts the requests of the last second, and what they leave of each limit", () =>
    live((desk) =>
      Effect.gen(function* () {
        yield* addJobs(4)
        yield* watched(takes("1 hour"), { stack: { pollInterval: "1 hour", stateInterval: "1 hour" } })
        yield* slowly("300 millis")
        assert.match(yield* desk.text, /^Requests +[3-9]\/s · .*list [89]\/10 left.*reserve 9\/10 left/m)
        yield* TestClock.adjust("30 seconds")
        assert.match(yield* desk.text, /^Requests +0\/s · .*list 10\/10 left.*reserve 10\/10 left/m)
      })
    )
  )

  it.effect("goes by what the service says of its limits, where others use them too", () =>
    live((desk) =>
      Effect.gen(function* () {
        yield* watched(endless, { stack: { stateInterval: "1 hour" } })
        yield* slowly("1300 millis")
        assert.match(yield* desk.text, /^Requests .*list 3\/20 left/m)
      }).pipe(
        Effect.provide(
          clientVia((request, response) =>
            request.method === "GET"
              ? Effect.gen(function* () {
                  const { headers, status, text } = yield* response
                  const limits = { "ratelimit-limit": "20", "ratelimit-remaining": "3" }
                  return HttpClientResponse.fromWeb(
                    request,
                    new Response(yield* text, { status, headers: { ...headers, ...limits } })
                  )
                })
              : response
          )
        )
      )
    )
  )

  it.effect("fits a small terminal, and says how many jobs it leaves out", () =>
    live((desk) =>
      Effect.gen(function* () {
        desk.size = { columns: 40, rows: 12 }
        yield* addJobs(30, named("a-step-with-a-long-name"))
        const { view } = yield* watched(endless, {
          output: printing("a line that is much longer than the terminal is wide"),
          stack: { maxInFlight: 20 }
        })
        yield* view.print("a note that is much longer than the terminal is wide, too")
        yield* slowly("2 seconds")
        const rows = yield* desk.screen
        assert.lengthOf(rows, 12)
        const text = rows.join("\n")
        assert.match(rows[0] ?? "", /^my-stack · queue q +running \ds$/)
        assert.match(text, /^Slots +20 of 20 taken · 0 free$/m)
        assert.match(text, /^ +10 pending$/m)
        assert.match(text, /^Running: 20$/m)
        const shown = text.match(/^ +\ds web#7/gm)?.length ?? 0
        assert.isAbove(shown, 1)
        assert.match(text, new RegExp(`^ {2}\\+ ${20 - shown} more$`, "m"))
        assert.match(rows[11] ?? "", /^Log +\d\d:\d\d:\d\d a note that .*…$/)
      })
    )
  )

  it.effect("follows the terminal when its size changes", () =>
    live((desk) =>
      Effect.gen(function* () {
        yield* addJobs(10)
        yield* watched(endless, { stack: { maxInFlight: 10 } })
        yield* slowly("1 second")
        assert.notInclude(yield* desk.text, "more")
        desk.size = { columns: 50, rows: 10 }
        // What a terminal makes of the old frame is its own affair.
        desk.written.splice(0)
        yield* slowly("200 millis")
        const rows = yield* desk.screen
        assert.match(rows[0] ?? "", /^my-stack · queue q +running 1s$/)
        assert.match(rows.join("\n"), /^ {2}\+ \d more$/m)
      })
    )
  )

  it.effect("lets nothing that a job prints, or is called, move the cursor or color the rest", () =>
    live((desk) =>
      Effect.gen(function* () {
        yield* addJobs(1, named("\u001b[2Jwiped\u202e"))
        yield* watched(endless, {
          output: printing("\u001b[31mred\u001b[0m\u0007 \u001b]0;title\u0007日本語\r\nnext\u009b2J")
        })
        yield* slowly("1 second")
        const rows = yield* desk.screen
        assert.match(rows[0] ?? "", /^my-stack/)
        assert.match(rows.join("\n"), /^ +\ds web#7 wiped {2}red 日本語 next/m)
        const written = desk.written.join("")
        for (const harm of ["\u001b[31m", "\u001b]", "\u0007", "\u009b", "\u202e"]) assert.notInclude(written, harm)
      })
    )
  )

  it.effect("shows troubles with how often they came, and the reasons for which jobs could not be run", () =>
    live((desk) =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.setFaults([Fault.Status({ status: 503, operations: ["listScheduledJobs"], times: 2 })])
        yield* addJobs(1, named("unlucky"))
        yield* watched(() => Effect.fail(new JobRunner.JobRunnerError({ message: "no machine left" })))
        yield* slowly("8 seconds")
        const text = yield* desk.text
        assert.match(text, /^Troubles: 3$/m)
        assert.match(text, /^ +\d\d:\d\d:\d\d 2 × listScheduledJobs: 503 \S/m)
        assert.match(text, /^ +\d\d:\d\d:\d\d web#7 unlucky: no machine left$/m)
        assert.match(text, /^Done +1 stack error/m)
      })
    )
  )

  it.effect("says that the queue is paused, and that the stack drains", () =>
    live((desk) =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* addJobs(1)
        const { stack } = yield* watched(endless, { stack: { shutdownGrace: "1 minute" } })
        yield* slowly("1 second")
        yield* emulator.pauseQueue("q", true)
        yield* slowly("2 seconds")
        assert.match((yield* desk.screen)[0] ?? "", / paused \ds$/)
        yield* Effect.forkChild(stack.drain)
        yield* slowly("1 second")
        assert.match((yield* desk.screen)[0] ?? "", / draining \ds$/)
        assert.match(yield* desk.text, /1 of 4 taken/)
        yield* TestClock.adjust("2 minutes")
      })
    )
  )

  it.effect("writes a frame at a time, only where something has changed, and at most ten times a second", () =>
    live((desk) =>
      Effect.gen(function* () {
        yield* addJobs(4)
        const { view } = yield* watched(endless, { stack: { pollInterval: "1 hour", stateInterval: "1 hour" } })
        yield* slowly("3 seconds")
        for (const text of desk.written.slice(1)) {
          assert.isTrue(text.startsWith("\u001b[?2026h") && text.endsWith("\u001b[?2026l"), JSON.stringify(text))
        }
        desk.written.splice(0)
        yield* TestClock.adjust("10 seconds")
        // The age of the jobs and that of the view, once a second each.
        assert.isAtMost(desk.written.length, 20)
        desk.written.splice(0)
        for (let millis = 0; millis < 1000; millis += 10) {
          yield* view.print(`${millis}`)
          yield* TestClock.adjust(10)
        }
        assert.isAtMost(desk.written.length, 10)
      })
    )
  )

  it.effect("shows log lines, those of the stack's events aside, and leaves them behind with a summary", () =>
    Effect.gen(function* () {
      const desk = new Desk()
      const scope = yield* Scope.make()
      yield* Effect.gen(function* () {
        yield* addJobs(5, named("step"))
        const { view } = yield* watched(takes("1 second"))
        yield* slowly("500 millis")
        yield* Effect.logWarning("look out").pipe(
          Effect.annotateLogs({ slot: 3n, token: Redacted.make("bkct_secret") }),
          Effect.provide(Logger.layer([view.logger]))
        )
        yield* view.print("so far, so good")
        yield* slowly("3 seconds")
        const text = yield* desk.text
        assert.match(text, /^ +\d\d:\d\d:\d\d WARN look out slot=3n? token=<redacted>$/m)
        assert.match(text, /^ +\d\d:\d\d:\d\d so far, so good$/m)
        assert.notInclude(text, "Registered")
        assert.notInclude(text, "bkct_secret")
        assert.deepStrictEqual(yield* TestConsole.errorLines, [])
      }).pipe(Scope.provide(scope), Effect.provide(Layer.merge(desk.layer(), emulated())), alone)
      yield* Scope.close(scope, Exit.void)

      assert.deepStrictEqual(
        (yield* desk.screen).filter((row) => row !== ""),
        []
      )
      const [logged, printed, ...others] = yield* TestConsole.errorLines
      assert.match(String(logged), /^\d\d:\d\d:\d\d WARN look out slot=3n? token=<redacted>$/)
      assert.strictEqual(printed, "so far, so good")
      assert.deepStrictEqual(others, [])
      const [summary, ...more] = yield* TestConsole.logLines
      assert.deepStrictEqual(more, [])
      assert.match(String(summary), /^Stack +my-stack · queue q$/m)
      assert.match(String(summary), /^Jobs +5 jobs in \ds · 1\.\d\/s · 5 passed$/m)
      assert.match(String(summary), /^Waited +p50 .+ · p99 .+$/m)
      assert.match(String(summary), /^Troubles +none$/m)
    })
  )

  it.effect("leaves log lines to a standard error that is a file", () =>
    Effect.gen(function* () {
      const desk = new Desk()
      yield* Effect.gen(function* () {
        const { logger } = yield* StackView.make({ format: "live" })
        yield* Effect.provide(Effect.logWarning("look out"), Logger.layer([logger]))
        assert.lengthOf(yield* TestConsole.errorLines, 1)
      }).pipe(Effect.scoped, Effect.provide(desk.layer({ stderrIsTerminal: false })))
    })
  )
})

describe("of several queues, on a terminal", () => {
  it.effect("shows the slots that they share, and is paused where all of them are", () =>
    live((desk) =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.addJobs(["a", "a", "a", "a", "b", "b"].map((queueKey) => ({ queueKey })))
        const view = yield* StackView.make({ format: "live" })
        const stacks = yield* Stacks.make({
          key: "s",
          queues: ["a", "b"],
          maxInFlight: 4,
          shutdownGrace: 0,
          onEvent: view.onEvent
        }).pipe(Effect.provide(Layer.merge(JobRunner.layer(endless), Logger.layer([view.logger]))))
        yield* view.watch(stacks)
        yield* slowly("2 seconds")
        assert.match((yield* desk.screen)[0] ?? "", /^2 stacks .* running \ds$/)
        assert.match(yield* desk.text, /^Slots +█{16} 4 of 4 taken · 0 free · 2 pending$/m)
        yield* emulator.pauseQueue("a", true)
        yield* slowly("2 seconds")
        assert.match((yield* desk.screen)[0] ?? "", / running \ds$/)
        yield* emulator.pauseQueue("b", true)
        yield* slowly("2 seconds")
        assert.match((yield* desk.screen)[0] ?? "", / paused \ds$/)
      })
    )
  )
})

// -----------------------------------------------------------------------------
// Elsewhere
// -----------------------------------------------------------------------------

const at = "1970-01-01T00:00:00.000Z"

/** What the view writes of these events. */
const told = Effect.fnUntraced(function* (format: StackView.Format, events: ReadonlyArray<StackEvent.StackEvent>) {
  yield* Effect.gen(function* () {
    const view = yield* StackView.make({ format })
    for (const event of events) yield* view.onEvent(event)
  }).pipe(Effect.scoped, alone, Effect.provide(new Desk().layer({ isTerminal: false })))
  return Array.from(yield* TestConsole.logLines, String)
})

const Event = StackEvent.StackEvent

const job: StacksSchema.ScheduledJob = {
  id: "0193b1a6-6a2c-4f4e-9d1a-000000000001",
  priority: 3,
  agentQueryRules: ["queue=q"],
  scheduledAt: DateTime.makeUnsafe("2026-10-01T12:34:56.789Z"),
  runnableAt: null,
  pipeline: { slug: "web", uuid: null },
  build: { uuid: null, number: 42, branch: "main" },
  step: { key: "test" }
}

const error = new StacksError.ErrorResponse({
  operation: "finishJob",
  method: "PUT",
  url: "http://service/v3/finish",
  status: 503,
  headers: Headers.fromInput({ authorization: "Token bkct_secret" }),
  reason: new StacksError.ServerError({ message: "not today", retryAfter: Duration.seconds(2) }),
  rawBody: "bkct_secret"
})

const everything: ReadonlyArray<StackEvent.StackEvent> = [
  Event.Registered({ stackKey: "s", queueKey: "q" }),
  Event.ReRegistered({ stackKey: "s", queueKey: "q" }),
  Event.Polled({ listed: 2, startable: 1 }),
  Event.Paused(),
  Event.Resumed(),
  Event.RequestFailed({ error }),
  Event.Reserved({ job }),
  Event.NotReserved({ job }),
  Event.Started({ job, sinceScheduled: Duration.millis(1500) }),
  Event.Finished({ job, exitStatus: 1, detail: "Exited\nwith 1" }),
  Event.AgentOwned({ job, state: undefined }),
  Event.Failed({ job, detail: "no machine" }),
  Event.Canceled({ job, state: "canceled" }),
  Event.ReservationLost({ job }),
  Event.FinishRejected({ job, error }),
  Event.BackedOff({ job, delay: Duration.seconds(5), message: "no token" }),
  Event.Released({ job, reason: "no machine" }),
  Event.InDoubt({ job, reason: "not mentioned" }),
  Event.JobIgnored({ jobUuid: "odd", reason: "no priority" }),
  Event.StartsSuspended({ message: "the disk is full", delay: Duration.seconds(30) }),
  Event.StartsResumed(),
  Event.Draining({ inFlight: 1 }),
  Event.Stopped()
]

describe("as lines", () => {
  it.effect("has one line for each event, with a time, and the summary at the end", () =>
    Effect.gen(function* () {
      const lines = yield* told("lines", everything)
      const summary = lines.pop() ?? ""
      assert.lengthOf(lines, everything.length)
      for (const [index, line] of lines.entries()) {
        assert.isTrue(line.startsWith(`${at} ${everything[index]?._tag}`), line)
        assert.notInclude(line, "\n")
        assert.notInclude(line, "bkct_secret")
      }
      const name = `job=${job.id} name="web#42 test"`
      assert.include(lines, `${at} Started ${name} sinceScheduled="1.5 s"`)
      assert.include(lines, `${at} Finished ${name} exitStatus=1 detail="Exited with 1"`)
      assert.include(lines, `${at} RequestFailed error="PUT http://service/v3/finish: 503 not today"`)
      assert.match(summary, /^Jobs +6 jobs in 0s/m)
      assert.match(summary, /^Troubles +2 × finishJob: 503 · 1 × /m)
    })
  )

  it.effect("leaves out polls that found nothing else than the one before, and the summary if told to", () =>
    Effect.gen(function* () {
      const polls = [2, 2, 2, 0, 0].map((listed) => Event.Polled({ listed, startable: 0 }))
      assert.deepStrictEqual((yield* told("lines", polls)).slice(0, -1), [
        `${at} Polled listed=2 startable=0`,
        `${at} Polled listed=0 startable=0`
      ])
      yield* Effect.scoped(StackView.make({ format: "lines", summary: false })).pipe(
        Effect.provide(new Desk().layer({ isTerminal: false }))
      )
      assert.lengthOf(yield* TestConsole.logLines, 3)
    })
  )
})

describe("of several queues", () => {
  it.effect("says of each event of which queue it is", () =>
    Effect.gen(function* () {
      const lines = yield* Effect.gen(function* () {
        const view = yield* StackView.make({ format: "lines", summary: false })
        for (const listed of [1, 1, 2]) {
          for (const queue of ["a", "b"]) yield* view.onEvent(Event.Polled({ listed, startable: 0 }), queue)
        }
        return Array.from(yield* TestConsole.logLines, String)
      }).pipe(Effect.scoped, Effect.provide(new Desk().layer({ isTerminal: false })))
      assert.deepStrictEqual(lines, [
        `${at} Polled queueKey=a listed=1 startable=0`,
        `${at} Polled queueKey=b listed=1 startable=0`,
        `${at} Polled queueKey=a listed=2 startable=0`,
        `${at} Polled queueKey=b listed=2 startable=0`
      ])
    })
  )
})

describe("of a process of a cluster", () => {
  const began: ClusterStack.ClusterEvent = { _tag: "Began", job, sinceScheduled: Duration.millis(1500) }
  const ended = (
    outcome: "Finished" | "AgentOwned" | "Failed" | "Interrupted",
    exitStatus?: number,
    detail?: string
  ): ClusterStack.ClusterEvent => ({ _tag: "Ended", job, outcome, exitStatus, detail })
  const events: ReadonlyArray<ClusterStack.ClusterEvent> = [
    began,
    ended("Finished", 0, "done"),
    ended("Finished", 3, "Exited with 3"),
    ended("AgentOwned"),
    ended("Failed", undefined, "no machine"),
    ended("Interrupted"),
    // Of jobs that other processes run.
    Event.Registered({ stackKey: "s--q", queueKey: "q" }),
    Event.Started({ job, sinceScheduled: Duration.millis(9000) }),
    Event.Finished({ job, exitStatus: 0, detail: "done" }),
    Event.Failed({ job, detail: "its process died" })
  ]
  const toldOfCluster = Effect.fnUntraced(function* (format: StackView.Format) {
    yield* Effect.gen(function* () {
      const view = yield* StackView.make({ format })
      for (const event of events) yield* view.onClusterEvent(event, "q")
    }).pipe(Effect.scoped, alone, Effect.provide(new Desk().layer({ isTerminal: false })))
    return Array.from(yield* TestConsole.logLines, String)
  })

  it.effect("tells of the jobs that it runs, and of the queues that it leads, and counts the former", () =>
    Effect.gen(function* () {
      const lines = yield* toldOfCluster("lines")
      const name = `queueKey=q job=${job.id} name="web#42 test"`
      assert.include(lines, `${at} Began ${name} sinceScheduled="1.5 s"`)
      assert.include(lines, `${at} Ended ${name} outcome=Finished exitStatus=3 detail="Exited with 3"`)
      assert.include(lines, `${at} Ended ${name} outcome=Interrupted`)
      assert.include(lines, `${at} Finished ${name} exitStatus=0 detail=done`)
      const summary = lines.at(-1) ?? ""
      assert.match(
        summary,
        /^Jobs +5 jobs in 0s · 50\/s · 1 passed · 1 failed · 1 by agents · 1 stack error · 1 interrupted$/m
      )
      assert.match(summary, /^Waited +p50 1\.5 s/m)
      assert.match(summary, /^Troubles +1 × a job that could not be run$/m)
    })
  )

  it.effect("is as plain in JSON", () =>
    Effect.gen(function* () {
      const objects = (yield* toldOfCluster("json")).map((line): Record<string, unknown> => JSON.parse(line))
      const plainJob = { ...job, scheduledAt: "2026-10-01T12:34:56.789Z" }
      assert.deepStrictEqual(objects.slice(0, 4), [
        { event: "Began", time: at, queueKey: "q", job: plainJob, sinceScheduledMillis: 1500 },
        { event: "Ended", time: at, queueKey: "q", job: plainJob, outcome: "Finished", exitStatus: 0, detail: "done" },
        {
          event: "Ended",
          time: at,
          queueKey: "q",
          job: plainJob,
          outcome: "Finished",
          exitStatus: 3,
          detail: "Exited with 3"
        },
        { event: "Ended", time: at, queueKey: "q", job: plainJob, outcome: "AgentOwned" }
      ])
    })
  )

  it.effect("shows on a terminal what it is in the cluster, and the slots that it has itself", () =>
    live((desk) =>
      Effect.gen(function* () {
        let status: ClusterStack.Status = { phase: "joining", slots: 4, processes: [], running: [], leading: [] }
        const view = yield* StackView.make({ format: "live" })
        yield* view.watch({ status: Effect.sync(() => status), awaitFailure: Effect.never })
        yield* slowly("1 second")
        assert.match((yield* desk.screen)[0] ?? "", /^a process · leads no queue .* starting \ds$/)
        const processes = ["a", "b", "c"].map((host) => ({ address: `${host}:1`, slots: 4 }))
        status = { ...status, phase: "running", processes, running: [job] }
        yield* view.onClusterEvent(began, "q")
        yield* slowly("1 second")
        assert.match((yield* desk.screen)[0] ?? "", /^one of 3 processes · leads no queue .* running \ds$/)
        assert.match(yield* desk.text, /^Slots +█{4}░{12} 1 of 4 taken · 3 free/m)
        assert.match(yield* desk.text, /^Running: 1$/m)
        status = { ...status, phase: "cutOff" }
        yield* slowly("1 second")
        assert.match((yield* desk.screen)[0] ?? "", / cut off \ds$/)
      })
    )
  )
})

describe("in color", () => {
  it.effect("says the same as without", () =>
    Effect.gen(function* () {
      const plain = yield* told("lines", everything)
      yield* Effect.gen(function* () {
        const view = yield* StackView.make({ format: "lines" })
        for (const event of everything) yield* view.onEvent(event)
      }).pipe(Effect.scoped, alone, Effect.provide(new Desk().layer({ isTerminal: false, canColor: true })))
      const colored = Array.from(yield* TestConsole.logLines, String).slice(plain.length)
      assert.include(colored.join(), "\u001b[31m")
      assert.deepStrictEqual(colored.map(stripVTControlCharacters), plain)
    })
  )
})

describe("as JSON", () => {
  it.effect("tells how long jobs waited, within 2 %", () =>
    Effect.gen(function* () {
      const waits = Array.from({ length: 1000 }, (_, i) =>
        Event.Started({ job, sinceScheduled: Duration.millis(10 * (i + 1)) })
      )
      const { queueToStartMillis } = JSON.parse((yield* told("json", waits)).at(-1) ?? "")
      assert.closeTo(queueToStartMillis.p50, 5000, 100)
      assert.closeTo(queueToStartMillis.p99, 9900, 198)
    })
  )

  it.effect("has one object for each event, of plain values without a secret, and one for the summary", () =>
    Effect.gen(function* () {
      const lines = yield* told("json", everything)
      assert.notInclude(lines.join(), "bkct_secret")
      const objects = lines.map((line): Record<string, unknown> => JSON.parse(line))
      assert.deepStrictEqual(
        objects.map(({ event, time }) => `${time} ${event}`),
        [...everything.map(({ _tag }) => _tag), "Summary"].map((tag) => `${at} ${tag}`)
      )
      const plainJob = { ...job, scheduledAt: "2026-10-01T12:34:56.789Z" }
      const plainError = {
        _tag: "ErrorResponse",
        message: "PUT http://service/v3/finish: 503 not today",
        operation: "finishJob",
        method: "PUT",
        url: "http://service/v3/finish",
        isRetryable: true,
        status: 503,
        reason: "ServerError",
        retryAfterMillis: 2000
      }
      const find = (name: string) => {
        const { event, time, ...fields } = objects.find(({ event }) => event === name) ?? {}
        return fields
      }
      assert.deepStrictEqual(find("Registered"), { stackKey: "s", queueKey: "q" })
      assert.deepStrictEqual(find("Polled"), { listed: 2, startable: 1 })
      assert.deepStrictEqual(find("RequestFailed"), { error: plainError })
      assert.deepStrictEqual(find("Started"), { job: plainJob, sinceScheduledMillis: 1500 })
      assert.deepStrictEqual(find("Finished"), { job: plainJob, exitStatus: 1, detail: "Exited\nwith 1" })
      assert.deepStrictEqual(find("AgentOwned"), { job: plainJob, state: null })
      assert.deepStrictEqual(find("FinishRejected"), { job: plainJob, error: plainError })
      assert.deepStrictEqual(find("BackedOff"), { job: plainJob, delayMillis: 5000, message: "no token" })
      assert.deepStrictEqual(find("Released"), { job: plainJob, reason: "no machine" })
      assert.deepStrictEqual(find("InDoubt"), { job: plainJob, reason: "not mentioned" })
      assert.deepStrictEqual(find("JobIgnored"), { jobUuid: "odd", reason: "no priority" })
      assert.deepStrictEqual(find("StartsSuspended"), { message: "the disk is full", delayMillis: 30_000 })
      assert.deepStrictEqual(find("Draining"), { inFlight: 1 })
      assert.deepInclude(find("Summary"), {
        jobs: 6,
        outcomes: { failed: 1, "by agents": 1, "stack error": 1, canceled: 1, lost: 1, released: 1 },
        troubles: {
          "finishJob: 503": 2,
          "a job that could not be run": 1,
          "a lost reservation": 1,
          "a job that could not be started": 1,
          "a reservation in doubt": 1,
          "a job that is left alone": 1,
          "starts that are suspended": 1
        }
      })
    })
  )
})

describe("unless told otherwise", () => {
  const chosen = (options: { readonly isTerminal: boolean; readonly env?: Record<string, string> }) =>
    Effect.map(StackView.make({ summary: false }), ({ format }) => format).pipe(
      Effect.scoped,
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: options.env ?? {} })),
      Effect.provide(new Desk().layer(options))
    )

  it.effect("is live on a terminal where CI is not set, else it writes lines", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* chosen({ isTerminal: true }), "live")
      assert.strictEqual(yield* chosen({ isTerminal: true, env: { CI: "" } }), "live")
      assert.strictEqual(yield* chosen({ isTerminal: true, env: { CI: "true" } }), "lines")
      assert.strictEqual(yield* chosen({ isTerminal: false }), "lines")
    })
  )
})

// -----------------------------------------------------------------------------
// Any size, whatever there is to see
// -----------------------------------------------------------------------------

describe("a frame", () => {
  const texts = ["", "x", "web#42 test", "日本語テスト日本語テスト", "👨‍👩‍👧‍👦 👍🏽 é", "long ".repeat(100)]

  const picture = (n: number): Picture => {
    const text = (i: number) => texts[(n + i) % texts.length] ?? ""
    const some = (i: number) => (n * 7 + i * 3) % 11
    return {
      title: text(0),
      phase: "running",
      startedAt: -some(1) * 10_000_000,
      slots: some(2) === 0 ? undefined : { taken: some(2) ** 4, max: some(3) ** 4 },
      pending: some(4) ** 5,
      backingOff: some(5),
      outcomes:
        some(6) < 4
          ? []
          : [
              ["passed", some(7) ** 6],
              ["stack error", 1],
              ["canceled", 10],
              ["released", 2]
            ],
      throughput: some(8),
      traffic: {
        rate: some(0) ** 3,
        scopes:
          some(1) < 3
            ? []
            : [
                { name: "list", limit: 10, used: some(2) },
                { name: "finish", limit: 100, used: 0 }
              ],
        requests: 1,
        retries: some(3),
        waits: some(4)
      },
      running: {
        total: some(5) ** 3,
        jobs: Array.from({ length: Math.min(50, some(5) ** 3) }, (_, i) => ({
          name: text(i),
          startedAt: i % 3 === 0 ? undefined : 0,
          lastLine: i % 2 === 0 ? undefined : text(i + 1)
        }))
      },
      troubles: {
        total: some(6),
        last: Array.from({ length: some(6) }, (_, i) => ({ at: 0, text: text(i), count: 1 + (i % 3) }))
      },
      logs: Array.from({ length: some(7) }, (_, i) => ({ at: 0, text: text(i) }))
    }
  }

  it("has no more lines than there are rows, and none as wide as the terminal", () => {
    for (let n = 0; n < 22; n++) {
      for (const columns of [1, 2, 10, 20, 39, 40, 61, 80, 200]) {
        for (const rows of [1, 2, 3, 5, 8, 12, 19, 20, 24, 60]) {
          const lines = render(picture(n), { columns, rows }, 60_000)
          const isFine = lines.length <= rows && lines.every((line) => lineWidth(line) < Math.max(2, columns))
          if (!isFine) {
            assert.fail(`${n} at ${columns}x${rows}:\n${lines.map((line) => painted(line, false)).join("\n")}`)
          }
        }
      }
    }
  })

  it("shows all jobs or says how many it does not show, from 40x12 on", () => {
    for (let n = 0; n < 60; n++) {
      const { running, ...rest } = picture(n)
      for (const size of [
        { columns: 40, rows: 12 },
        { columns: 80, rows: 24 }
      ]) {
        const text = render({ ...rest, running }, size, 60_000).map((line) => painted(line, false))
        const more = text.map((line) => /^ {2}\+ (\d+) more$/.exec(line)?.[1]).find((count) => count !== undefined)
        const heading = text.findIndex((line) => /^(Running|No job is running)/.test(line))
        assert.isAtLeast(heading, 0)
        const shown = text.slice(heading + 1).filter((line) => /^ +(…|1m00s) /.test(line)).length
        assert.strictEqual(shown + Number(more ?? 0), running.total, text.join("\n"))
      }
    }
  })
})
