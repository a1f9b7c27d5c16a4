/** Jobs that wait for others to pass, as the steps of a pipeline do. */
import * as DateTime from "effect/DateTime"
import type { Job, State } from "./state.ts"

/** Lists the jobs whose wait is over, and ends those that wait in vain. Done before anything looks at the jobs. */
export const settle = (state: State, now: number): void => {
  let hasChanged: boolean
  do {
    hasChanged = false
    for (const job of state.waiting) {
      const outlook = outlookOf(state, job)
      if (outlook === "waiting") continue
      hasChanged = true
      state.waiting.delete(job)
      job.state = outlook
      if (outlook === "scheduled") list(job, now)
      else job.finishedAt = now
    }
    // Whoever waits for a job that waits in vain does so too.
  } while (hasChanged)
}

/** It was scheduled when it was added, and can run from now on. */
const list = (job: Job, now: number): void => {
  const { runnableAt, scheduledAt } = job.listed
  job.listed = { ...job.listed, runnableAt: DateTime.max(DateTime.makeUnsafe(now), runnableAt ?? scheduledAt) }
  job.queue.scheduled.add(job)
}

const outlookOf = (state: State, job: Job): "waiting" | "waiting_failed" | "scheduled" => {
  for (const id of job.waitsFor) {
    const other = state.jobs.get(id)
    if (other?.finishedAt === undefined) return "waiting"
    if (!job.allowsDependencyFailure && !hasPassed(other)) return "waiting_failed"
    // Looked at once: what is left is what is still awaited.
    job.waitsFor.delete(id)
  }
  return "scheduled"
}

const hasPassed = ({ exitStatus, softFail, state }: Job): boolean =>
  state === "finished" &&
  (exitStatus === 0 ||
    softFail === true ||
    (softFail !== false && exitStatus !== undefined && softFail.includes(exitStatus)))
