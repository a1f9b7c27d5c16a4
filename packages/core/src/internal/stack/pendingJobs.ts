/** The listed jobs that may start, as the polls show them, in the order in which they are to be reserved. */
import * as DateTime from "effect/DateTime"
import type { ScheduledJob } from "../../StacksSchema.ts"

/** Higher priority first, then the job that was scheduled first, then the one that was listed first. */
const byUrgency = (a: ScheduledJob, b: ScheduledJob): number =>
  b.priority - a.priority || DateTime.toEpochMillis(a.scheduledAt) - DateTime.toEpochMillis(b.scheduledAt)

/**
 * What becomes of a pending job: it is taken; it waits until {@link PendingJobs.resume}; it is dropped until a poll lists it again;
 * or the search ends before it.
 */
export type Selection = "take" | "wait" | "drop" | "stop"

export class PendingJobs {
  #jobs: Array<ScheduledJob> = []
  /** The most urgent one that is left. */
  #next = 0
  #isSorted = true
  #waiting: Array<ScheduledJob> = []

  /** How many jobs could be taken; those that wait don't count. */
  get size(): number {
    return this.#jobs.length - this.#next
  }

  /** How many jobs wait. */
  get waiting(): number {
    return this.#waiting.length
  }

  add(jobs: ReadonlyArray<ScheduledJob>): void {
    if (jobs.length === 0) return
    this.#jobs = this.#next < this.#jobs.length ? [...this.#jobs.slice(this.#next), ...jobs] : Array.from(jobs)
    this.#next = 0
    this.#isSorted = false
  }

  /** Adds a job before others that are as urgent. */
  addFirst(job: ScheduledJob): void {
    this.#jobs = [job, ...this.#jobs.slice(this.#next)]
    this.#next = 0
    this.#isSorted = false
  }

  /** The jobs that wait may be taken again. */
  resume(): void {
    const waiting = this.#waiting
    this.#waiting = []
    this.add(waiting)
  }

  clear(): void {
    this.#jobs = []
    this.#next = 0
    this.#waiting = []
  }

  /** Takes out the `count` most urgent jobs that are selected. A job that is listed twice is taken once. */
  take(count: number, select: (job: ScheduledJob, taken: number) => Selection): Array<ScheduledJob> {
    if (!this.#isSorted) {
      this.#jobs.sort(byUrgency)
      this.#isSorted = true
    }
    const taken = new Map<string, ScheduledJob>()
    while (taken.size < count) {
      const job = this.#jobs[this.#next]
      if (job === undefined) break
      const selection = taken.has(job.id) ? "drop" : select(job, taken.size)
      if (selection === "stop") break
      this.#next++
      if (selection === "take") taken.set(job.id, job)
      else if (selection === "wait") this.#waiting.push(job)
    }
    return Array.from(taken.values())
  }
}
