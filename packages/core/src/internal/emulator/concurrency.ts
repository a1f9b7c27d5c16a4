/** Concurrency groups: how many of their jobs may run at the same time, and in which order. */
import { isAgentOwned } from "../../StacksSchema.ts"
import { isOver, type Step } from "./builds.ts"
import { schedule } from "./dependencies.ts"
import type { Job, State } from "./state.ts"

/** Makes a job wait for its turn in its step's group. False if the step has none. */
export const join = (state: State, job: Job): boolean => {
  const concurrency = job.pipelineStep?.concurrency
  if (concurrency === undefined) return false
  const jobs = state.concurrencyGroups.get(concurrency.group) ?? new Set()
  state.concurrencyGroups.set(concurrency.group, jobs.add(job))
  job.state = "limited"
  return true
}

/** Lists the jobs whose turn it is. */
export const advance = (state: State, now: number): void => {
  if (state.concurrencyGroups.size === 0) return
  const waiting = waitingByGroup(state)
  for (const [group, jobs] of state.concurrencyGroups) {
    for (const job of jobs) if (job.finishedAt !== undefined) jobs.delete(job)
    if (jobs.size === 0) state.concurrencyGroups.delete(group)
    else advanceGroup(Array.from(jobs), waiting.get(group) ?? [], now)
  }
}

const advanceGroup = (jobs: ReadonlyArray<Job>, waiting: ReadonlyArray<Job>, now: number): void => {
  let running = jobs.filter(hasTurn).length
  const limited = jobs.filter(({ state }) => state === "limited")
  const earlier = [...jobs, ...waiting]
  for (const job of limited.sort(byTurn)) {
    const concurrency = job.pipelineStep?.concurrency
    if (concurrency === undefined || running >= concurrency.limit) continue
    // In order: those that were created before it, and have not ended, go first.
    const ahead = concurrency.isEager ? 0 : earlier.filter(({ order }) => order < job.order).length
    if (ahead >= concurrency.limit) continue
    schedule(job, now)
    running++
  }
}

const hasTurn = ({ state }: Job): boolean => state === "scheduled" || state === "reserved" || isAgentOwned(state)

/** Urgent jobs first where the order is free. */
const byTurn = (a: Job, b: Job): number => {
  const isEager = a.pipelineStep?.concurrency?.isEager === true && b.pipelineStep?.concurrency?.isEager === true
  return (isEager ? b.listed.priority - a.listed.priority : 0) || a.order - b.order
}

/** The jobs that wait for other steps. Those behind a step that waits for a person have not joined their groups yet. */
const waitingByGroup = (state: State): ReadonlyMap<string, ReadonlyArray<Job>> => {
  const waiting = new Map<string, Array<Job>>()
  const known = new Map<Step, boolean>()
  for (const step of state.openSteps) {
    if (step.concurrency === undefined || step.state === "running" || isBehindPerson(step, known)) continue
    const jobs = waiting.get(step.concurrency.group) ?? []
    waiting.set(step.concurrency.group, jobs)
    jobs.push(...step.openJobs)
  }
  return waiting
}

const isBehindPerson = (step: Step, known: Map<Step, boolean>): boolean => {
  const cached = known.get(step)
  if (cached !== undefined) return cached
  // Steps do not need themselves, but this may be called before that is checked.
  known.set(step, false)
  const isBehind =
    step.holds.length > 0 ||
    Array.from(step.needs).some(({ step: other }) => !isOver(other) && isBehindPerson(other, known)) ||
    (step.kind === "group" && step.children.some((child) => !isOver(child) && isBehindPerson(child, known)))
  known.set(step, isBehind)
  return isBehind
}
