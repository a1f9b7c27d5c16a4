/** The listed jobs that may start, in the order in which the stack reserves them. */
import * as DateTime from "effect/DateTime"
import type { ScheduledJob } from "../../StacksSchema.ts"

/** Higher priority first, then the job that was scheduled first, then the one that was listed first. */
const byUrgency = (a: ScheduledJob, b: ScheduledJob): number =>
  b.priority - a.priority || DateTime.toEpochMillis(a.scheduledAt) - DateTime.toEpochMillis(b.scheduledAt)

/**
 * The decision about a pending job: take it, let it wait until {@link PendingJobs.resume}, drop it until a poll lists it again, or
 * stop the selection.
 */
export type Selection = "take" | "wait" | "drop" | "stop"

export class PendingJobs {
  #jobs: Array<ScheduledJob> = []
  /** The most urgent job. */
  #next = 0
  #isSorted = true
  #waiting: Array<ScheduledJob> = []

  /** How many jobs can be taken, without the waiting ones. */
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

  /** Adds a job before others of equal urgency. */
  addFirst(job: ScheduledJob): void {
    this.#jobs = [job, ...this.#jobs.slice(this.#next)]
    this.#next = 0
    this.#isSorted = false
  }

  /** Makes the waiting jobs selectable again. */
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

  /** Removes and returns the `count` most urgent jobs that are selected. A job that is listed twice is taken once. */
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
