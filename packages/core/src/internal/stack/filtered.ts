/** Counts the jobs that a poll listed and the stack does not take now, by reason: the metric `stacksapi_jobs_filtered`. */
import * as AgentQueryRules from "../../AgentQueryRules.ts"
import type { Poll } from "../../ScheduledJobs.ts"
import * as JobId from "./jobId.ts"
import type { StackState } from "./stackState.ts"

export const reasons = ["tags", "not_yet", "paused", "not_admitted", "unusable"] as const

export type Filtered = Readonly<Record<(typeof reasons)[number], number>>

export const none: Filtered = { tags: 0, not_yet: 0, paused: 0, not_admitted: 0, unusable: 0 }

export const count = (state: StackState, { jobs, listed, undecodable }: Poll): Filtered => {
  const { admission, settings } = state.dependencies
  const counts = { ...none, unusable: undecodable.length }
  const startable = new Set(jobs.map(({ id }) => id))
  const isForUs = settings.tags === undefined ? () => true : AgentQueryRules.matcher(settings.tags)
  for (const { agentQueryRules, id } of listed) {
    if (startable.has(id)) {
      if (!JobId.isUsable(id)) counts.unusable++
      else if (admission.isNotAdmitted(id)) counts.not_admitted++
    } else if (!isForUs(agentQueryRules)) counts.tags++
    else if (state.isPaused) counts.paused++
    else counts.not_yet++
  }
  return counts
}
