/** A terminal for tests of `StackView`, and stacks that a view shows on it. */
import { JobRunner, Stack, StackEvent, StacksError, type StacksSchema } from "@stacksapi/core"
import type { StacksEmulator } from "@stacksapi/core/testing"
import { type JobOutput, StackView } from "@stacksapi/node"
import {
  ConfigProvider,
  DateTime,
  Duration,
  Effect,
  Layer,
  Logger,
  Metric,
  Queue,
  Stdio,
  Stream,
  Terminal
} from "effect"
import { TerminalCapabilities } from "effect/cli"
import { Headers } from "effect/http"
import { TestConsole } from "effect/testing"
import { emulated, type Run } from "./stacks.ts"
import { screenAfter } from "./terminal.ts"

/** A terminal whose size can change, and that records what is written to it. */
export class TestTerminal {
  size = { columns: 80, rows: 24 }
  readonly written: Array<string> = []

  readonly layer = (
    options: { readonly isTerminal?: boolean; readonly stderrIsTerminal?: boolean; readonly canColor?: boolean } = {}
  ) => {
    const { canColor = false, isTerminal = true, stderrIsTerminal = true } = options
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

/** Runs an effect with metrics of its own, from zero on. */
export const alone = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

export const printing = (line: string): JobOutput.Service => ({
  lines: Stream.empty,
  tail: () => Effect.succeed(["an earlier line", line, ""])
})

export const endless: Run = () => Effect.never

/** Starts a stack with 4 slots on the queue `q`, and a live view of it, until the scope closes. */
export const watched = Effect.fnUntraced(function* (
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

export const named = (step: string) => ({
  pipeline: { slug: "web" },
  build: { number: 7 },
  step: { key: step }
})

export const live = <A, E>(
  use: (
    terminal: TestTerminal
  ) => Effect.Effect<A, E, StacksEmulator.StacksEmulator | Effect.Services<ReturnType<typeof watched>>>
) =>
  Effect.suspend(() => {
    const terminal = new TestTerminal()
    return alone(Effect.scoped(use(terminal))).pipe(Effect.provide(Layer.merge(terminal.layer(), emulated())))
  })

export const at = "1970-01-01T00:00:00.000Z"

/** The lines that a view writes for these events. */
export const linesOf = Effect.fnUntraced(function* (
  format: StackView.Format,
  events: ReadonlyArray<StackEvent.StackEvent>
) {
  yield* Effect.gen(function* () {
    const view = yield* StackView.make({ format })
    for (const event of events) yield* view.onEvent(event)
  }).pipe(Effect.scoped, alone, Effect.provide(new TestTerminal().layer({ isTerminal: false })))
  return Array.from(yield* TestConsole.logLines, String)
})

export const Event = StackEvent.StackEvent

export const job: StacksSchema.ScheduledJob = {
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

export const everything: ReadonlyArray<StackEvent.StackEvent> = [
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
  Event.NotAdmitted({ job, reason: "not today" }),
  Event.JobIgnored({ jobUuid: "odd", reason: "no priority" }),
  Event.StartsSuspended({ message: "the disk is full", delay: Duration.seconds(30) }),
  Event.StartsResumed(),
  Event.Draining({ inFlight: 1 }),
  Event.Interrupted({ job, after: Duration.seconds(20) }),
  Event.Stopped()
]
