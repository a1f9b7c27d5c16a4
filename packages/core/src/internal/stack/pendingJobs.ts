/** The listed jobs that may start, as the polls show them, in the order in which they are to be reserved. */
import * as DateTime from "effect/DateTime"
import type { ScheduledJob } from "../../StacksSchema.ts"

/** Higher priority first, then the job that was scheduled first, then the one that was listed first. */
const byUrgency = (a: ScheduledJob, b: ScheduledJob): number =>
  b.priority - a.priority || DateTime.toEpochMillis(a.scheduledAt) - DateTime.toEpochMillis(b.scheduledAt)

export class PendingJobs {
  #jobs: Array<ScheduledJob> = []
  /** The most urgent one that is left. */
  #next = 0
  #isSorted = true

  get size(): number {
    return this.#jobs.length - this.#next
  }

  add(jobs: ReadonlyArray<ScheduledJob>): void {
    if (jobs.length === 0) return
    this.#jobs = this.#next < this.#jobs.length ? [...this.#jobs.slice(this.#next), ...jobs] : Array.from(jobs)
    this.#next = 0
    this.#isSorted = false
  }

  clear(): void {
    this.#jobs = []
    this.#next = 0
  }

  /**
   * Takes out the `count` most urgent jobs of those that pass, and drops those before them that don't. A job that is listed twice is
   * taken once.
   */
  take(count: number, passes: (job: ScheduledJob) => boolean): Array<ScheduledJob> {
    if (!this.#isSorted) {
      this.#jobs.sort(byUrgency)
      this.#isSorted = true
    }
    const taken = new Map<string, ScheduledJob>()
    while (taken.size < count) {
      const job = this.#jobs[this.#next]
      if (job === undefined) break
      this.#next++
      if (!taken.has(job.id) && passes(job)) taken.set(job.id, job)
    }
    return Array.from(taken.values())
  }
}
