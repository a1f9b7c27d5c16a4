/** A view as lines and as JSON. */
import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { AgentProvider, Stacks } from "@stacksapi/core"
import { AgentProviderEmulator } from "@stacksapi/core/testing"
import { StackView } from "@stacksapi/node"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { ConfigProvider, Duration, Effect, Layer, Logger } from "effect"
import { TestConsole } from "effect/testing"
import { emulated, slowly } from "../support/stacks.ts"
import { alone, at, Event, everything, job, linesOf, TestTerminal } from "../support/viewTerminal.ts"

describe("a view as lines", () => {
  it.effect("prints one line per event, with its time, and the summary at the end", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf("lines", everything)
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
      assert.match(summary, /^Problems +2 × finishJob: 503 · 1 × /m)
    })
  )

  it.effect("says which jobs the stack stopped at the end of its grace, and counts them so", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf("lines", [
        Event.Registered({ stackKey: "s", queueKey: "q" }),
        ...["a", "b", "c", "d"].map((id) => Event.Started({ job: { ...job, id }, sinceScheduled: Duration.millis(5) })),
        Event.Draining({ inFlight: 3 }),
        Event.AgentOwned({ job: { ...job, id: "a" }, state: "finished" }),
        ...["b", "c", "d"].map((id) => Event.Interrupted({ job: { ...job, id }, after: Duration.seconds(20) })),
        Event.AgentOwned({ job: { ...job, id: "b" }, state: "finished" }),
        Event.AgentOwned({ job: { ...job, id: "c" }, state: "finished" }),
        Event.Failed({ job: { ...job, id: "d" }, detail: "The stack stopped the job" }),
        Event.Stopped()
      ])
      assert.include(lines, `${at} Interrupted job=b name="web#42 test" after="20.0 s"`)
      const summary = lines.at(-1) ?? ""
      assert.match(summary, /^Jobs .* · 1 by agents · 1 stack error · 2 interrupted$/m)
      assert.match(summary, /^Problems +3 × a job stopped at the end of the shutdown grace$/m)
    })
  )

  it.effect("counts an unavailable runner and a queue that can't continue as problems", () =>
    Effect.gen(function* () {
      const { setFaults } = yield* AgentProviderEmulator.AgentProviderEmulator
      yield* setFaults([{ kind: "Unavailable" }])
      yield* Effect.gen(function* () {
        const view = yield* StackView.make({ format: "lines" })
        const stacks = yield* Stacks.make({
          key: "s",
          queues: ["here", "gone"],
          onClose: "drain",
          shutdownGrace: 0,
          onEvent: view.onEvent
        }).pipe(Effect.provide(AgentProvider.layerRunner()))
        yield* view.watch(stacks)
        // The missing queue is tried a second time.
        yield* slowly("70 seconds", "1 second")
      }).pipe(Effect.scoped, alone, Effect.provide([new TestTerminal().layer({ isTerminal: false }), Logger.layer([])]))
      const summary = String((yield* TestConsole.logLines).at(-1))
      assert.match(summary, /^Problems +2 × a queue that can't continue · 1 × an unavailable runner$/m)
    }).pipe(Effect.provide(AgentProviderEmulator.layer().pipe(Layer.provideMerge(emulated({ queues: ["here"] })))))
  )

  it.effect("leaves out polls with the same result as the previous one, and the summary with `summary: false`", () =>
    Effect.gen(function* () {
      const polls = [2, 2, 2, 0, 0].map((listed) => Event.Polled({ listed, startable: 0 }))
      assert.deepStrictEqual((yield* linesOf("lines", polls)).slice(0, -1), [
        `${at} Polled listed=2 startable=0`,
        `${at} Polled listed=0 startable=0`
      ])
      yield* Effect.scoped(StackView.make({ format: "lines", summary: false })).pipe(
        Effect.provide(new TestTerminal().layer({ isTerminal: false }))
      )
      assert.lengthOf(yield* TestConsole.logLines, 3)
    })
  )
})

describe("a view of several queues as lines", () => {
  it.effect("prints the queue key of each event", () =>
    Effect.gen(function* () {
      const lines = yield* Effect.gen(function* () {
        const view = yield* StackView.make({ format: "lines", summary: false })
        for (const listed of [1, 1, 2]) {
          for (const queue of ["a", "b"]) yield* view.onEvent(Event.Polled({ listed, startable: 0 }), queue)
        }
        return Array.from(yield* TestConsole.logLines, String)
      }).pipe(Effect.scoped, Effect.provide(new TestTerminal().layer({ isTerminal: false })))
      assert.deepStrictEqual(lines, [
        `${at} Polled queueKey=a listed=1 startable=0`,
        `${at} Polled queueKey=b listed=1 startable=0`,
        `${at} Polled queueKey=a listed=2 startable=0`,
        `${at} Polled queueKey=b listed=2 startable=0`
      ])
    })
  )
})

describe("a view of a process of a cluster", () => {
  const started: ClusterStack.ClusterEvent = { _tag: "RunStarted", job, sinceScheduled: Duration.millis(1500) }
  const ended = (
    outcome: "Finished" | "AgentOwned" | "Failed" | "Interrupted",
    exitStatus?: number,
    detail?: string
  ): ClusterStack.ClusterEvent => ({ _tag: "RunEnded", job, outcome, exitStatus, detail })
  const events: ReadonlyArray<ClusterStack.ClusterEvent> = [
    started,
    ended("Finished", 0, "done"),
    ended("Finished", 3, "Exited with 3"),
    ended("AgentOwned"),
    ended("Failed", undefined, "no machine"),
    ended("Interrupted"),
    // Events of jobs that other processes run.
    Event.Registered({ stackKey: "s--q", queueKey: "q" }),
    Event.Started({ job, sinceScheduled: Duration.millis(9000) }),
    Event.Finished({ job, exitStatus: 0, detail: "done" }),
    Event.Failed({ job, detail: "its process died" })
  ]
  const clusterLines = Effect.fnUntraced(function* (format: StackView.Format) {
    yield* Effect.gen(function* () {
      const view = yield* StackView.make({ format })
      for (const event of events) yield* view.onClusterEvent(event, "q")
    }).pipe(Effect.scoped, alone, Effect.provide(new TestTerminal().layer({ isTerminal: false })))
    return Array.from(yield* TestConsole.logLines, String)
  })

  it.effect("prints the events of its own jobs and of the queues that it leads, and counts only its own jobs", () =>
    Effect.gen(function* () {
      const lines = yield* clusterLines("lines")
      const name = `queueKey=q job=${job.id} name="web#42 test"`
      assert.include(lines, `${at} RunStarted ${name} sinceScheduled="1.5 s"`)
      assert.include(lines, `${at} RunEnded ${name} outcome=Finished exitStatus=3 detail="Exited with 3"`)
      assert.include(lines, `${at} RunEnded ${name} outcome=Interrupted`)
      assert.include(lines, `${at} Finished ${name} exitStatus=0 detail=done`)
      const summary = lines.at(-1) ?? ""
      assert.match(
        summary,
        /^Jobs +5 jobs in 0s · 50\/s · 1 passed · 1 failed · 1 by agents · 1 stack error · 1 interrupted$/m
      )
      assert.match(summary, /^Waited +p50 1\.5 s/m)
      assert.match(summary, /^Problems +1 × a job that could not be run$/m)
    })
  )

  it.effect("prints RunStarted and RunEnded as JSON", () =>
    Effect.gen(function* () {
      const objects = (yield* clusterLines("json")).map((line): Record<string, unknown> => JSON.parse(line))
      const plainJob = { ...job, scheduledAt: "2026-10-01T12:34:56.789Z" }
      assert.deepStrictEqual(objects.slice(0, 4), [
        { event: "RunStarted", time: at, queueKey: "q", job: plainJob, sinceScheduledMillis: 1500 },
        {
          event: "RunEnded",
          time: at,
          queueKey: "q",
          job: plainJob,
          outcome: "Finished",
          exitStatus: 0,
          detail: "done"
        },
        {
          event: "RunEnded",
          time: at,
          queueKey: "q",
          job: plainJob,
          outcome: "Finished",
          exitStatus: 3,
          detail: "Exited with 3"
        },
        { event: "RunEnded", time: at, queueKey: "q", job: plainJob, outcome: "AgentOwned" }
      ])
    })
  )
})

describe("a view in color", () => {
  it.effect("prints the same text as without colors", () =>
    Effect.gen(function* () {
      const plain = yield* linesOf("lines", everything)
      yield* Effect.gen(function* () {
        const view = yield* StackView.make({ format: "lines" })
        for (const event of everything) yield* view.onEvent(event)
      }).pipe(Effect.scoped, alone, Effect.provide(new TestTerminal().layer({ isTerminal: false, canColor: true })))
      const colored = Array.from(yield* TestConsole.logLines, String).slice(plain.length)
      assert.include(colored.join(), "\u001b[31m")
      assert.deepStrictEqual(colored.map(stripVTControlCharacters), plain)
    })
  )
})

describe("a view as JSON", () => {
  it.effect("summarizes the schedule-to-start latency within 2 %", () =>
    Effect.gen(function* () {
      const waits = Array.from({ length: 1000 }, (_, i) =>
        Event.Started({ job, sinceScheduled: Duration.millis(10 * (i + 1)) })
      )
      const { scheduleToStartMillis } = JSON.parse((yield* linesOf("json", waits)).at(-1) ?? "")
      assert.closeTo(scheduleToStartMillis.p50, 5000, 100)
      assert.closeTo(scheduleToStartMillis.p99, 9900, 198)
    })
  )

  it.effect("prints one object per event, without secrets, and one for the summary", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf("json", everything)
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
      assert.deepStrictEqual(find("NotAdmitted"), { job: plainJob, reason: "not today" })
      assert.deepStrictEqual(find("JobIgnored"), { jobUuid: "odd", reason: "no priority" })
      assert.deepStrictEqual(find("StartsSuspended"), { message: "the disk is full", delayMillis: 30_000 })
      assert.deepStrictEqual(find("Draining"), { inFlight: 1 })
      assert.deepInclude(find("Summary"), {
        jobs: 6,
        outcomes: { failed: 1, "by agents": 1, "stack error": 1, canceled: 1, lost: 1, released: 1 },
        problems: {
          "finishJob: 503": 2,
          "a job that could not be run": 1,
          "a job stopped at the end of the shutdown grace": 1,
          "a lost reservation": 1,
          "a job that could not be started": 1,
          "a reservation in doubt": 1,
          "an ignored job": 1,
          "suspended starts": 1
        }
      })
    })
  )
})

describe("the default format of a view", () => {
  const formatOn = (options: { readonly isTerminal: boolean; readonly env?: Record<string, string> }) =>
    Effect.map(StackView.make({ summary: false }), ({ format }) => format).pipe(
      Effect.scoped,
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: options.env ?? {} })),
      Effect.provide(new TestTerminal().layer(options))
    )

  it.effect("is live on a terminal unless CI is set, else lines", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* formatOn({ isTerminal: true }), "live")
      assert.strictEqual(yield* formatOn({ isTerminal: true, env: { CI: "" } }), "live")
      assert.strictEqual(yield* formatOn({ isTerminal: true, env: { CI: "true" } }), "lines")
      assert.strictEqual(yield* formatOn({ isTerminal: false }), "lines")
    })
  )
})
