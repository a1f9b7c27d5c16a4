/** Starts, blocks and ends the steps of builds. */
import { isAgentOwned } from "../../StacksSchema.ts"
import { type Build, isOver, type Outcome, type Step, worst } from "./builds.ts"
import * as Concurrency from "./concurrency.ts"
import { hasPassed, schedule } from "./dependencies.ts"
import * as Jobs from "./jobs.ts"
import * as Retries from "./retries.ts"
import { type Job, release, type State } from "./state.ts"

/** Ends steps whose jobs have ended, and lets those go on whose needs are met. */
export const advance = (state: State, now: number): void => {
  let hasChanged: boolean
  do {
    hasChanged = false
    // A step that has ended here may be what others wait for.
    for (const step of state.openSteps) if (advanceStep(state, step, now)) hasChanged = true
  } while (hasChanged)
  Concurrency.advance(state, now)
}

const advanceStep = (state: State, step: Step, now: number): boolean => {
  if (step.kind === "group") return advanceGroup(state, step)
  // A job may be canceled while its step waits.
  if (step.kind === "command" && takeEndedJobs(state, step, now)) return true
  if (step.state === "running") return false
  const needs = checkNeeds(step)
  if (needs === "waiting") return keep(step, "waiting")
  if (needs !== "met") {
    step.hasFailedNeed = true
    endJobs(state, step, "waiting_failed", now)
    return end(state, step, needs)
  }
  if (step.holds.length > 0) return keep(step, "blocked")
  if (step.kind !== "command") return end(state, step, "passed")
  step.state = "running"
  for (const job of step.openJobs) {
    if (!Concurrency.join(state, job)) schedule(job, now)
  }
  return true
}

const end = (state: State, step: Step, outcome: Outcome): true => {
  step.state = outcome
  state.openSteps.delete(step)
  return true
}

/** Keeps a step and its jobs from running. Whether that is new. */
const keep = (step: Step, state: "waiting" | "blocked"): boolean => {
  if (step.state === state) return false
  step.state = state
  for (const job of step.openJobs) job.state = state
  return true
}

/** A group is over when its steps are. */
const advanceGroup = (state: State, group: Step): boolean => {
  if (!group.children.every(isOver)) return false
  return end(state, group, worst(group.children.map(outcomeOf)))
}

const outcomeOf = ({ state }: Step): Outcome => (state === "failed" || state === "canceled" ? state : "passed")

// -----------------------------------------------------------------------------
// Needs
// -----------------------------------------------------------------------------

/** Whether all that a step waits for has ended well; otherwise the outcome that the step takes over. */
const checkNeeds = (step: Step): "met" | "waiting" | Exclude<Outcome, "passed"> => {
  let result: "met" | "waiting" = "met"
  for (const need of step.needs) {
    const outcome = need.isUploader ? ownOutcome(need.step) : outcomeWithUploads(need.step)
    if (outcome === undefined) {
      result = "waiting"
      continue
    }
    // A cancellation stops also what may follow a failure.
    if (outcome === "canceled") return outcome
    if (outcome === "failed" && !need.allowsFailure && !step.allowsDependencyFailure) return outcome
  }
  return result
}

const ownOutcome = (step: Step): Outcome | undefined => (isOver(step) ? outcomeOf(step) : undefined)

/** The outcome of a step and of all the steps that its jobs, or the jobs of its group, have uploaded. */
const outcomeWithUploads = (step: Step): Outcome | undefined => {
  const outcomes: Array<Outcome> = []
  const open = [step]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const outcome = ownOutcome(next)
    if (outcome === undefined) return undefined
    outcomes.push(outcome)
    open.push(...next.uploads, ...next.children)
  }
  return worst(outcomes)
}

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

const takeEndedJobs = (state: State, step: Step, now: number): boolean => {
  let hasChanged = false
  for (const job of step.openJobs) {
    if (job.finishedAt === undefined) continue
    hasChanged = true
    step.openJobs.delete(job)
    if (Retries.retryAutomatically(state, job, now)) continue
    const outcome = outcomeOfJob(job)
    step.outcomes.set(job.order, outcome)
    if (outcome === "failed") fail(state, step.build, now)
  }
  return step.openJobs.size > 0 ? hasChanged : end(state, step, worst(step.outcomes.values()))
}

const failedStates: ReadonlySet<string> = new Set(["finished", "timed_out", "waiting_failed"])

const outcomeOfJob = (job: Job): Outcome => {
  if (hasPassed(job)) return "passed"
  return failedStates.has(job.state) ? "failed" : "canceled"
}

/** A build that fails cancels the jobs of the steps that ask for it. */
const fail = (state: State, build: Build, now: number): void => {
  if (build.isFailing) return
  build.isFailing = true
  for (const step of build.steps) {
    if (!step.isCanceledOnBuildFailing || isOver(step)) continue
    for (const job of step.openJobs) Jobs.cancel(state, job, now)
    // The other steps end when their jobs have.
    if (step.state === "running") continue
    step.openJobs.clear()
    end(state, step, "canceled")
  }
}

/** Cancels a step without jobs that has not ended. A group ends with its steps. */
export const cancel = (state: State, step: Step): void => {
  if (step.kind !== "command" && step.kind !== "group" && !isOver(step)) end(state, step, "canceled")
}

const endJobs = (state: State, step: Step, jobState: "waiting_failed" | "canceled", now: number): void => {
  for (const job of step.openJobs) {
    release(state, job)
    job.state = jobState
    job.finishedAt = now
  }
  if (jobState === "canceled") step.openJobs.clear()
}

/** Removes the steps of a build whose jobs no agent has, except for some. */
export const skipRemaining = (state: State, build: Build, except: ReadonlySet<Step>, now: number): void => {
  for (const step of build.steps) {
    if (except.has(step) || isOver(step) || step.kind === "group") continue
    const hasBegun = step.outcomes.size > 0 || Array.from(step.openJobs).some(isTaken)
    if (step.state === "running" && hasBegun) continue
    endJobs(state, step, "canceled", now)
    step.state = "skipped"
    state.openSteps.delete(step)
  }
}

const isTaken = ({ finishedAt, state }: Job): boolean => finishedAt !== undefined || isAgentOwned(state)

// -----------------------------------------------------------------------------
// Retries by people
// -----------------------------------------------------------------------------

/** Runs a job again. Steps that did not run because of it wait for it again. */
export const retry = (state: State, job: Job, now: number): Job => {
  const again = Retries.retry(state, job, "manual", undefined, now)
  const step = job.pipelineStep
  if (step === undefined) return again
  step.outcomes.delete(job.order)
  reopen(state, step, "running")
  const { build } = step
  build.isFailing = build.steps.some(({ outcomes }) => worst(outcomes.values()) === "failed")
  for (const other of build.steps) {
    if (!other.hasFailedNeed) continue
    other.hasFailedNeed = false
    for (const waiting of other.openJobs) {
      waiting.state = "waiting"
      waiting.finishedAt = undefined
    }
    reopen(state, other, "waiting")
  }
  return again
}

const reopen = (state: State, step: Step, stepState: "running" | "waiting"): void => {
  for (let open: Step | undefined = step; open !== undefined; open = open.group) {
    open.state = open === step ? stepState : "waiting"
    state.openSteps.add(open)
  }
}
