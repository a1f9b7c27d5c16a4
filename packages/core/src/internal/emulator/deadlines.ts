/** What happens to the jobs of agents at a given time: they time out, or a forced cancellation ends them. */
import { endJob, type Job, type State } from "./state.ts"

/** Applies the deadlines that have passed by now. */
export const advance = (state: State, now: number): void => {
  for (let job = state.deadlines.first; job?.deadline !== undefined && job.deadline.at <= now; ) {
    const { at, becomes } = job.deadline
    clear(state, job)
    if (becomes === "timing_out") job.state = becomes
    else endJob(job, at)
    job = state.deadlines.first
  }
}

/** A job times out when it has run for its `timeout`. Call it when the job starts, and when its timeout changes. */
export const startTimeout = (state: State, job: Job): void => {
  if (job.state !== "running" || job.startedAt === undefined) return
  clear(state, job)
  if (job.timeout !== undefined) set(state, job, { at: job.startedAt + job.timeout, becomes: "timing_out" })
}

/** Ends a job that is being canceled at a time, whatever its agent does. */
export const forceCancel = (state: State, job: Job, at: number): void => {
  if (job.state !== "canceling") return
  clear(state, job)
  set(state, job, { at, becomes: "canceled" })
}

/** Forgets a job's deadline, because it is being canceled or has ended. */
export const clear = (state: State, job: Job): void => {
  if (job.deadline === undefined) return
  state.deadlines.remove(job)
  job.deadline = undefined
}

const set = (state: State, job: Job, deadline: NonNullable<Job["deadline"]>): void => {
  job.deadline = deadline
  state.deadlines.add(job)
}
