/** How the run goes: the live view on a terminal, a few lines elsewhere. */
import type { Stack, StackEvent } from "@stacksapi/core"
import { type JobOutput, StackView } from "@stacksapi/node"
import { Clock, Console, Effect, Schedule } from "effect"
import type { Report } from "./run.ts"

export interface Progress {
  /** Says something besides. */
  readonly say: (line: string) => Effect.Effect<void>
  readonly onEvent: (event: StackEvent.StackEvent) => Effect.Effect<void>
  readonly watch: (stack: Stack.Service) => Effect.Effect<void>
}

/** Shows a report until the scope closes. */
export const show = Effect.fn("demo.show")(function* (report: Report, expected: number, output: JobOutput.Service) {
  const view = yield* StackView.make({ output, summary: false })
  const progress: Progress =
    view.format === "live"
      ? { say: view.print, onEvent: view.onEvent, watch: view.watch }
      : { say: Console.log, onEvent: () => Effect.void, watch: () => Effect.void }
  if (view.format !== "live") yield* tellNowAndThen(report, expected)
  return progress
})

/** About four lines for any number of jobs: a line for each event would be a thousand. */
const tellNowAndThen = Effect.fnUntraced(function* (report: Report, expected: number) {
  const startedAt = yield* Clock.currentTimeMillis
  let told = 0
  const tell = Effect.suspend(() => {
    const jobs = Math.max(expected, report.reserved.size)
    const finished = report.finished.size
    const step = Math.max(50, Math.ceil(jobs / 4))
    if (finished < told + step || finished === jobs) return Effect.void
    told = finished - (finished % step)
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Console.log(`${finished} of ${jobs} jobs finished after ${((now - startedAt) / 1000).toFixed(1)} s`)
    )
  })
  yield* Effect.forkScoped(Effect.repeat(tell, Schedule.spaced("100 millis")))
})
