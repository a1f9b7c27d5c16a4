/** The attributes of a step, as `buildkite-agent step get` shows them. */
import type * as BuildData from "./buildData.ts"
import { isOver, type Step } from "./builds.ts"
import * as Dependencies from "./dependencies.ts"
import type { Job } from "./state.ts"

/** `pipelineStep` is undefined for the step of jobs that were added without a pipeline. */
export const make = (
  step: BuildData.Step,
  jobs: ReadonlyArray<Job>,
  pipelineStep: Step | undefined
): Readonly<Record<string, unknown>> => {
  const { id, key, label, notify } = step
  if (pipelineStep !== undefined && pipelineStep.kind !== "command") {
    const [state, outcome] = [stateOfStep(pipelineStep), outcomeOfStep(pipelineStep)]
    return { id, key, type: pipelineStep.kind, label, state, outcome, notify }
  }
  return {
    id,
    key,
    type: "command",
    label,
    state: stateOf(jobs),
    outcome: outcomeOf(jobs),
    command: jobs[0]?.command ?? "",
    priority: jobs[0]?.listed.priority ?? 0,
    parallelism: jobs.length,
    agents: jobs[0]?.listed.agentQueryRules ?? [],
    notify
  }
}

// -----------------------------------------------------------------------------
// Steps with jobs
// -----------------------------------------------------------------------------

const stateOf = (jobs: ReadonlyArray<Job>): string => {
  const unfinished = jobs.filter(({ finishedAt }) => finishedAt === undefined)
  if (unfinished.length === 0) return "finished"
  const hasStarted = jobs.some(({ startedAt }) => startedAt !== undefined)
  if (hasStarted) return jobs.some(hasFailed) ? "failing" : "running"
  return unfinished.every(({ state }) => state === "waiting") ? "waiting_for_dependencies" : "ready"
}

const hasFailed = (job: Job): boolean => job.finishedAt !== undefined && !Dependencies.hasPassed(job)

const outcomeOf = (jobs: ReadonlyArray<Job>): string => {
  if (jobs.some((job) => hasFailed(job) && job.state !== "finished")) return "errored"
  if (jobs.some(hasFailed)) return "hard_failed"
  if (jobs.some(({ finishedAt }) => finishedAt === undefined)) return "neutral"
  return jobs.every(({ exitStatus }) => exitStatus === 0) ? "passed" : "soft_failed"
}

// -----------------------------------------------------------------------------
// Steps without jobs
// -----------------------------------------------------------------------------

/** A group runs while one of its steps has begun. A step that waits for a person is ready. */
const stateOfStep = (step: Step): string => {
  if (isOver(step)) return "finished"
  const { children } = step
  if (children.some(({ state }) => state === "failed")) return "failing"
  if (children.some((child) => child.state === "running" || (isOver(child) && child.state !== "skipped"))) {
    return "running"
  }
  return step.state === "blocked" || children.some(({ state }) => state === "blocked")
    ? "ready"
    : "waiting_for_dependencies"
}

const outcomeOfStep = (step: Step): string => {
  if (step.children.some(({ state }) => state === "failed")) return "hard_failed"
  if (step.state === "passed") return "passed"
  return isOver(step) ? "errored" : "neutral"
}
