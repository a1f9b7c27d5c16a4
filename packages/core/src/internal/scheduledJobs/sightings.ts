/** Which jobs of a queue were handed out already, as far as polls of its first pages can tell. */
import * as DateTime from "effect/DateTime"
import type { Poll } from "../../ScheduledJobs.ts"
import type { ScheduledJob } from "../../StacksSchema.ts"

/**
 * Remembers the jobs that were handed out for as long as they may be listed.
 *
 * A poll sees the oldest jobs only, up to its horizon: the time of the last job that it listed. A job from before the horizon
 * that the poll did not list is gone. One from behind it may just not have been read, because older jobs came in between.
 */
export class Sightings {
  /** When each job was scheduled, by id, in the order in which they were last listed. */
  private readonly handedOut = new Map<string, number>()
  private readonly capacity: number

  /** Above `capacity`, the jobs that were not listed for the longest time are forgotten. */
  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** The jobs of a poll that were not handed out since they were first listed. */
  handOut(poll: Poll): ReadonlyArray<ScheduledJob> {
    this.update(poll)
    const fresh: Array<ScheduledJob> = []
    for (const job of poll.jobs) {
      if (this.handedOut.has(job.id)) continue
      this.handedOut.set(job.id, DateTime.toEpochMillis(job.scheduledAt))
      fresh.push(job)
    }
    for (const id of this.handedOut.keys()) {
      if (this.handedOut.size <= this.capacity) break
      this.handedOut.delete(id)
    }
    return fresh
  }

  private update({ isComplete, listed }: Poll): void {
    const listedIds = new Set<string>()
    for (const { id, scheduledAt } of listed) {
      listedIds.add(id)
      if (this.handedOut.delete(id)) this.handedOut.set(id, DateTime.toEpochMillis(scheduledAt))
    }
    const last = listed.at(-1)
    const horizon = isComplete
      ? Number.POSITIVE_INFINITY
      : last === undefined
        ? Number.NEGATIVE_INFINITY
        : DateTime.toEpochMillis(last.scheduledAt)
    for (const [id, scheduledAt] of this.handedOut) {
      if (scheduledAt < horizon && !listedIds.has(id)) this.handedOut.delete(id)
    }
  }
}
