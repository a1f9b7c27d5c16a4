/** The columns of tables of scheduled jobs. */
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import type * as DateTime from "effect/DateTime"
import type { Column } from "../terminal/table.ts"
import { fromNow } from "../terminal/times.ts"

export const jobColumns = (now: DateTime.Utc): ReadonlyArray<Column<ScheduledJob>> => [
  { name: "id", value: ({ id }) => id },
  { name: "prio", value: ({ priority }) => String(priority) },
  { name: "scheduled", value: ({ scheduledAt }) => fromNow(now, scheduledAt), style: () => "dim" },
  {
    name: "pipeline",
    value: ({ build, pipeline }) => `${pipeline.slug ?? "?"}#${build.number ?? "?"}`,
    isFlexible: true
  },
  { name: "branch", value: ({ build }) => build.branch ?? "", isFlexible: true },
  { name: "step", value: ({ step }) => step.key ?? "", isFlexible: true },
  { name: "rules", value: ({ agentQueryRules }) => agentQueryRules.join(" "), style: () => "dim", isFlexible: true }
]
