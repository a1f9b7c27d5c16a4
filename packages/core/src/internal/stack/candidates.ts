/** The jobs that may start, as the polls show them, in the order in which they are to be taken. */
import * as DateTime from "effect/DateTime"
import type { ScheduledJob } from "../../StacksSchema.ts"

/** Higher priority first, then the one that waits longest, then the one that was listed first. */
const byUrgency = (a: ScheduledJob, b: ScheduledJob): number =>
  b.priority - a.priority || DateTime.toEpochMillis(a.scheduledAt) - DateTime.toEpochMillis(b.scheduledAt)

export class Candidates {
  private waiting: Array<ScheduledJob> = []
  /** The most urgent one that is left. */
  private next = 0
  private isSorted = true

  get size(): number {
    return this.waiting.length - this.next
  }

  add(jobs: ReadonlyArray<ScheduledJob>): void {
    if (jobs.length === 0) return
    this.waiting = this.next < this.waiting.length ? [...this.waiting.slice(this.next), ...jobs] : Array.from(jobs)
    this.next = 0
    this.isSorted = false
  }

  clear(): void {
    this.waiting = []
    this.next = 0
  }

  /** Takes out the `count` most urgent ones of those that pass, and those before them that don't. */
  take(count: number, passes: (job: ScheduledJob) => boolean): Array<ScheduledJob> {
    if (!this.isSorted) {
      this.waiting.sort(byUrgency)
      this.isSorted = true
    }
    const taken: Array<ScheduledJob> = []
    while (taken.length < count) {
      const job = this.waiting[this.next]
      if (job === undefined) break
      this.next++
      if (passes(job)) taken.push(job)
    }
    return taken
  }
}
