/** The live view on a terminal, with a test clock. */
import { assert, describe, it } from "@effect/vitest"
import { JobRunner, Stacks } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { StackView } from "@stacksapi/node"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Duration, Effect, Exit, Layer, Logger, Redacted, Scope } from "effect"
import { HttpClientResponse } from "effect/http"
import { TestClock, TestConsole } from "effect/testing"
import { addJobs, clientVia, done, emulated, slowly, takes } from "../support/stacks.ts"
import { alone, endless, job, live, named, printing, TestTerminal, watched } from "../support/viewTerminal.ts"

const { Fault } = StacksEmulator

describe("a live view", () => {
  it.effect("shows the queue, the slots, the jobs with age and last line, outcomes, requests and limits", () =>
    live((terminal) =>
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
        const rows = yield* terminal.screen
        assert.match(rows[0] ?? "", /^my-stack · queue q {40,}running 2m03s$/)
        const text = rows.join("\n")
        assert.match(text, /^Slots +█{16} 4 of 4 taken · 0 free · 2 pending$/m)
        assert.match(text, /^Done +3 passed · 0\.\d\/s$/m)
        assert.match(text, /^Requests +\d+\/s · .*\blist \d+\/10 left/m)
        assert.match(text, /^Running: 4$/m)
        assert.strictEqual(text.match(/^ +2m0\ds web#7 slow {2}compiling everything$/gm)?.length, 4)
        assert.notInclude(text, "Problems")
      })
    )
  )

  it.effect("shows the requests of the last second, and what is left of each rate limit", () =>
    live((terminal) =>
      Effect.gen(function* () {
        yield* addJobs(4)
        yield* watched(takes("1 hour"), { stack: { pollInterval: "1 hour", stateInterval: "1 hour" } })
        yield* slowly("300 millis")
        assert.match(yield* terminal.text, /^Requests +[3-9]\/s · .*list [89]\/10 left.*reserve 9\/10 left/m)
        yield* TestClock.adjust("30 seconds")
        assert.match(yield* terminal.text, /^Requests +0\/s · .*list 10\/10 left.*reserve 10\/10 left/m)
      })
    )
  )

  it.effect("shows the limits that the service reports, when other processes use them too", () =>
    live((terminal) =>
      Effect.gen(function* () {
        yield* watched(endless, { stack: { stateInterval: "1 hour" } })
        yield* slowly("1300 millis")
        assert.match(yield* terminal.text, /^Requests .*list 3\/20 left/m)
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

  it.effect("fits a small terminal, and shows how many jobs it leaves out", () =>
    live((terminal) =>
      Effect.gen(function* () {
        terminal.size = { columns: 40, rows: 12 }
        yield* addJobs(30, named("a-step-with-a-long-name"))
        const { view } = yield* watched(endless, {
          output: printing("a line that is much longer than the terminal is wide"),
          stack: { maxInFlight: 20 }
        })
        yield* view.print("a note that is much longer than the terminal is wide, too")
        yield* slowly("2 seconds")
        const rows = yield* terminal.screen
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

  it.effect("redraws for the new size when the terminal is resized", () =>
    live((terminal) =>
      Effect.gen(function* () {
        yield* addJobs(10)
        yield* watched(endless, { stack: { maxInFlight: 10 } })
        yield* slowly("1 second")
        assert.notInclude(yield* terminal.text, "more")
        terminal.size = { columns: 50, rows: 10 }
        // How a terminal reflows the old frame does not matter.
        terminal.written.splice(0)
        yield* slowly("200 millis")
        const rows = yield* terminal.screen
        assert.match(rows[0] ?? "", /^my-stack · queue q +running 1s$/)
        assert.match(rows.join("\n"), /^ {2}\+ \d more$/m)
      })
    )
  )

  it.effect("removes control characters and escape sequences from the names and output of jobs", () =>
    live((terminal) =>
      Effect.gen(function* () {
        yield* addJobs(1, named("\u001b[2Jwiped\u202e"))
        yield* watched(endless, {
          output: printing("\u001b[31mred\u001b[0m\u0007 \u001b]0;title\u0007日本語\r\nnext\u009b2J")
        })
        yield* slowly("1 second")
        const rows = yield* terminal.screen
        assert.match(rows[0] ?? "", /^my-stack/)
        assert.match(rows.join("\n"), /^ +\ds web#7 wiped {2}red 日本語 next/m)
        const written = terminal.written.join("")
        for (const harm of ["\u001b[31m", "\u001b]", "\u0007", "\u009b", "\u202e"]) assert.notInclude(written, harm)
      })
    )
  )

  it.effect("shows problems with their counts, and why jobs could not be run", () =>
    live((terminal) =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* emulator.setFaults([Fault.Status({ status: 503, operations: ["listScheduledJobs"], times: 2 })])
        yield* addJobs(1, named("unlucky"))
        yield* watched(() => Effect.fail(new JobRunner.JobRunnerError({ message: "no machine left" })))
        yield* slowly("8 seconds")
        const text = yield* terminal.text
        assert.match(text, /^Problems: 3$/m)
        assert.match(text, /^ +\d\d:\d\d:\d\d 2 × listScheduledJobs: 503 \S/m)
        assert.match(text, /^ +\d\d:\d\d:\d\d web#7 unlucky: no machine left$/m)
        assert.match(text, /^Done +1 stack error/m)
      })
    )
  )

  it.effect("shows that the queue is paused, and that the stack drains", () =>
    live((terminal) =>
      Effect.gen(function* () {
        const emulator = yield* StacksEmulator.StacksEmulator
        yield* addJobs(1)
        const { stack } = yield* watched(endless, { stack: { shutdownGrace: "1 minute" } })
        yield* slowly("1 second")
        yield* emulator.pauseQueue("q", true)
        yield* slowly("2 seconds")
        assert.match((yield* terminal.screen)[0] ?? "", / paused \ds$/)
        yield* Effect.forkChild(stack.drain)
        yield* slowly("1 second")
        assert.match((yield* terminal.screen)[0] ?? "", / draining \ds$/)
        assert.match(yield* terminal.text, /1 of 4 taken/)
        yield* TestClock.adjust("2 minutes")
      })
    )
  )

  it.effect("writes whole frames, only when something has changed, and at most ten times a second", () =>
    live((terminal) =>
      Effect.gen(function* () {
        yield* addJobs(4)
        const { view } = yield* watched(endless, { stack: { pollInterval: "1 hour", stateInterval: "1 hour" } })
        yield* slowly("3 seconds")
        for (const text of terminal.written.slice(1)) {
          assert.isTrue(text.startsWith("\u001b[?2026h") && text.endsWith("\u001b[?2026l"), JSON.stringify(text))
        }
        terminal.written.splice(0)
        yield* TestClock.adjust("10 seconds")
        // The age of the jobs and the age of the view change once a second each.
        assert.isAtMost(terminal.written.length, 20)
        terminal.written.splice(0)
        for (let millis = 0; millis < 1000; millis += 10) {
          yield* view.print(`${millis}`)
          yield* TestClock.adjust(10)
        }
        assert.isAtMost(terminal.written.length, 10)
      })
    )
  )

  it.effect("shows log lines, except those of events, and prints them with the summary at the end", () =>
    Effect.gen(function* () {
      const terminal = new TestTerminal()
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
        const text = yield* terminal.text
        assert.match(text, /^ +\d\d:\d\d:\d\d WARN look out slot=3n? token=<redacted>$/m)
        assert.match(text, /^ +\d\d:\d\d:\d\d so far, so good$/m)
        assert.notInclude(text, "Registered")
        assert.notInclude(text, "bkct_secret")
        assert.deepStrictEqual(yield* TestConsole.errorLines, [])
      }).pipe(Scope.provide(scope), Effect.provide(Layer.merge(terminal.layer(), emulated())), alone)
      yield* Scope.close(scope, Exit.void)

      assert.deepStrictEqual(
        (yield* terminal.screen).filter((row) => row !== ""),
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
      assert.match(String(summary), /^Problems +none$/m)
    })
  )

  it.effect("writes log lines to the standard error if that is a file", () =>
    Effect.gen(function* () {
      const terminal = new TestTerminal()
      yield* Effect.gen(function* () {
        const { logger } = yield* StackView.make({ format: "live" })
        yield* Effect.provide(Effect.logWarning("look out"), Logger.layer([logger]))
        assert.lengthOf(yield* TestConsole.errorLines, 1)
      }).pipe(Effect.scoped, Effect.provide(terminal.layer({ stderrIsTerminal: false })))
    })
  )
})

describe("a live view of several queues", () => {
  it.effect("shows the shared slots, and is paused when all queues are", () =>
    live((terminal) =>
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
        assert.match((yield* terminal.screen)[0] ?? "", /^2 stacks .* running \ds$/)
        assert.match(yield* terminal.text, /^Slots +█{16} 4 of 4 taken · 0 free · 2 pending$/m)
        yield* emulator.pauseQueue("a", true)
        yield* slowly("2 seconds")
        assert.match((yield* terminal.screen)[0] ?? "", / running \ds$/)
        yield* emulator.pauseQueue("b", true)
        yield* slowly("2 seconds")
        assert.match((yield* terminal.screen)[0] ?? "", / paused \ds$/)
      })
    )
  )
})

describe("a live view of a process of a cluster", () => {
  it.effect("shows its state in the cluster, and its own slots", () =>
    live((terminal) =>
      Effect.gen(function* () {
        let status: ClusterStack.Status = { phase: "joining", slots: 4, processes: [], running: [], leading: [] }
        const view = yield* StackView.make({ format: "live" })
        yield* view.watch({ status: Effect.sync(() => status), awaitFailure: Effect.never })
        yield* slowly("1 second")
        assert.match((yield* terminal.screen)[0] ?? "", /^a process · leads no queue .* starting \ds$/)
        const processes = ["a", "b", "c"].map((name) => ({ name, slots: 4 }))
        status = { ...status, phase: "running", processes, running: [job] }
        yield* view.onClusterEvent({ _tag: "RunStarted", job, sinceScheduled: Duration.millis(1500) }, "q")
        yield* slowly("1 second")
        assert.match((yield* terminal.screen)[0] ?? "", /^one of 3 processes · leads no queue .* running \ds$/)
        assert.match(yield* terminal.text, /^Slots +█{4}░{12} 1 of 4 taken · 3 free/m)
        assert.match(yield* terminal.text, /^Running: 1$/m)
        status = { ...status, phase: "partitioned" }
        yield* slowly("1 second")
        assert.match((yield* terminal.screen)[0] ?? "", / partitioned \ds$/)
      })
    )
  )
})
