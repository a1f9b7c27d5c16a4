/** The jobs that may start, as the last poll showed them, in the order in which they are to be taken. */
import * as DateTime from "effect/DateTime"
import type { ScheduledJob } from "../../StacksSchema.ts"

/** Higher priority first, then the one that waits longest. */
const byUrgency = (a: ScheduledJob, b: ScheduledJob): number =>
  b.priority - a.priority || DateTime.toEpochMillis(a.scheduledAt) - DateTime.toEpochMillis(b.scheduledAt)

export class Candidates {
  /** The most urgent one is the last. */
  private waiting: Array<ScheduledJob> = []

  get size(): number {
    return this.waiting.length
  }

  /** Starts anew from what a poll showed. */
  replace(jobs: ReadonlyArray<ScheduledJob>): void {
    this.waiting = Array.from(jobs).sort((a, b) => byUrgency(b, a))
  }

  clear(): void {
    this.waiting = []
  }

  /** Takes out the `count` most urgent ones of those that pass. */
  take(count: number, passes: (job: ScheduledJob) => boolean): Array<ScheduledJob> {
    const taken: Array<ScheduledJob> = []
    while (taken.length < count) {
      const job = this.waiting.pop()
      if (job === undefined) break
      if (passes(job)) taken.push(job)
    }
    return taken
  }
}
