/** Jobs that depend on other jobs, like the steps of a pipeline. */
import * as DateTime from "effect/DateTime"
import type { Job, State } from "./state.ts"

/** Lists the jobs whose dependencies have passed, and fails those with a dependency that has not. */
export const advance = (state: State, now: number): void => {
  let hasChanged: boolean
  do {
    hasChanged = false
    for (const job of state.waiting) {
      const next = nextStateOf(state, job)
      if (next === "waiting") continue
      hasChanged = true
      state.waiting.delete(job)
      if (next === "scheduled") {
        schedule(job, now)
      } else {
        job.state = next
        job.finishedAt = now
      }
    }
    // A job that has failed here may be a dependency of others.
  } while (hasChanged)
}

/** Lists a job in its queue. It was scheduled when it was added, and can run from now on. */
export const schedule = (job: Job, now: number): void => {
  const { runnableAt, scheduledAt } = job.listed
  job.state = "scheduled"
  job.listed = { ...job.listed, runnableAt: DateTime.max(DateTime.makeUnsafe(now), runnableAt ?? scheduledAt) }
  job.queue.scheduled.add(job)
}

const nextStateOf = (state: State, job: Job): "waiting" | "waiting_failed" | "scheduled" => {
  for (const id of job.waitsFor) {
    const dependency = state.jobs.get(id)
    if (dependency?.finishedAt === undefined) return "waiting"
    if (!job.allowsDependencyFailure && !hasPassed(dependency)) return "waiting_failed"
    // Check each dependency only once.
    job.waitsFor.delete(id)
  }
  return "scheduled"
}

/** Whether a job has passed, or failed in a way that is allowed. One that passes although its time is up has passed. */
export const hasPassed = ({ exitStatus, softFail, state }: Job): boolean =>
  (state === "finished" || state === "timed_out") &&
  (exitStatus === 0 ||
    softFail === true ||
    (softFail !== false && exitStatus !== undefined && softFail.includes(exitStatus)))
