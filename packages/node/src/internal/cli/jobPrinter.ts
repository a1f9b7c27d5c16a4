/** Prints scheduled jobs. */
import * as StacksClient from "@stacksapi/core/StacksClient"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import type { Column } from "../terminal/table.ts"
import { fromNow } from "../terminal/times.ts"
import * as Output from "./output.ts"
import { labelIn } from "./stepLabels.ts"

/** How many jobs one command asks for: each is a request, and the service limits requests. */
const maxRequests = 100

/** Enough to hide the latency. */
const concurrency = 8

/**
 * Makes a printer. A table shows the label of a step without a key. Lists of jobs have no labels, so the printer asks for the first
 * {@link maxRequests} of these jobs one by one.
 */
export const make = Effect.fnUntraced(function* ({ json, key }: { readonly json: boolean; readonly key: string }) {
  const client = yield* StacksClient.StacksClient
  const labels = new Map<string, string>()
  const printer = yield* Output.printer({ json, columns: columns(yield* DateTime.now, labels), toJson: identity })
  let requests = 0

  const readLabels = (jobs: ReadonlyArray<ScheduledJob>) => {
    const unnamed = jobs.filter(({ step }) => step.key === null).slice(0, maxRequests - requests)
    requests += unnamed.length
    return Effect.forEach(
      unnamed,
      ({ id }) =>
        client.getJob({ stackKey: key, jobUuid: id }).pipe(
          Effect.tap(({ env }) =>
            Effect.sync(() => {
              const label = labelIn(env)
              if (label !== undefined) labels.set(id, label)
            })
          ),
          // A job that is gone meanwhile, or can't be read, is shown without its label.
          Effect.ignore
        ),
      { concurrency, discard: true }
    )
  }

  return {
    print: (jobs) => (json ? printer.print(jobs) : Effect.flatMap(readLabels(jobs), () => printer.print(jobs)))
  } satisfies Output.Printer<ScheduledJob>
})

const columns = (now: DateTime.Utc, labels: ReadonlyMap<string, string>): ReadonlyArray<Column<ScheduledJob>> => [
  { name: "id", value: ({ id }) => id },
  { name: "prio", value: ({ priority }) => String(priority) },
  { name: "scheduled", value: ({ scheduledAt }) => fromNow(now, scheduledAt), style: () => "dim" },
  {
    name: "pipeline",
    value: ({ build, pipeline }) => `${pipeline.slug ?? "?"}#${build.number ?? "?"}`,
    isFlexible: true
  },
  { name: "branch", value: ({ build }) => build.branch ?? "", isFlexible: true },
  { name: "step", value: ({ id, step }) => step.key ?? labels.get(id) ?? "", isFlexible: true },
  { name: "rules", value: ({ agentQueryRules }) => agentQueryRules.join(" "), style: () => "dim", isFlexible: true }
]
