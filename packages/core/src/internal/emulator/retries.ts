/** Runs jobs again: by the rules of their steps, or because somebody wants it. */

import * as BuildData from "./buildData.ts"
import * as Concurrency from "./concurrency.ts"
import { hasPassed, schedule } from "./dependencies.ts"
import { type RetryRule, signalName } from "./pipeline/fields.ts"
import { type Job, type State, unstarted } from "./state.ts"

/** Retries a job that has failed if a rule of its step says so. Canceled jobs are not retried. */
export const retryAutomatically = (state: State, job: Job, now: number): boolean => {
  if (job.pipelineStep === undefined || (job.state !== "finished" && job.state !== "timed_out")) return false
  const isFailure = job.exitStatus !== 0 || job.state === "timed_out"
  const rule = job.pipelineStep.retry.automatic.find((rule) => isFor(rule, job, isFailure))
  if (rule === undefined || (job.retriesByRule.get(rule) ?? 0) >= rule.limit) return false
  retry(state, job, "automatic", rule, now)
  return true
}

/** An exit status of 0 is retried only by a rule that names it. */
const isFor = ({ exitStatuses, signalReasons, signals }: RetryRule, job: Job, isFailure: boolean): boolean =>
  (exitStatuses === undefined ? isFailure : exitStatuses.includes(job.exitStatus ?? -1)) &&
  (signals === undefined || signals.includes(job.signal === undefined ? "none" : signalName(job.signal))) &&
  (signalReasons === undefined || signalReasons.includes(job.signalReason ?? "none"))

/** Why a job can't be run again; undefined if it can. */
export const refusal = (job: Job): string | undefined => {
  const { id } = job.listed
  if (job.finishedAt === undefined) return `job ${id} has not ended`
  if (job.retriedBy !== undefined) return `job ${id} has been retried already`
  if (job.state === "waiting_failed") return `job ${id} has not run`
  if (job.pipelineStep === undefined) return `job ${id} does not belong to an uploaded pipeline`
  const { isManualAllowed, isPermittedOnPassed } = job.pipelineStep.retry
  if (!isManualAllowed) return `the step of job ${id} does not allow retries`
  return hasPassed(job) && job.exitStatus === 0 && !isPermittedOnPassed ? `job ${id} has passed` : undefined
}

/** Adds a job like another one, and schedules it. */
export const retry = (
  state: State,
  job: Job,
  how: "automatic" | "manual",
  rule: RetryRule | undefined,
  now: number
): Job => {
  const id = state.random.uuid()
  const retryCount = job.retryCount + 1
  const again: Job = {
    ...job,
    sequence: state.jobs.size,
    scheduledAt: now,
    listed: { ...job.listed, id },
    env: {
      ...job.env,
      BUILDKITE_JOB_ID: id,
      BUILDKITE_RETRY_COUNT: String(retryCount),
      BUILDKITE_RETRY_TYPE: how
    },
    state: "waiting",
    waitsFor: new Set(),
    retryCount,
    retriesByRule:
      rule === undefined
        ? job.retriesByRule
        : new Map([...job.retriesByRule, [rule, (job.retriesByRule.get(rule) ?? 0) + 1]]),
    ...unstarted()
  }
  job.retriedBy = again
  state.jobs.set(id, again)
  const { jobs } = BuildData.of(state, job)
  jobs.splice(jobs.indexOf(job) + 1, 0, again)
  job.pipelineStep?.openJobs.add(again)
  if (!Concurrency.join(state, again)) schedule(again, now)
  return again
}
