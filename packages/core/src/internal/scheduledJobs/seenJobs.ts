/** Deduplicates the jobs of a queue across polls of its first pages. */
import * as DateTime from "effect/DateTime"
import type { Poll } from "../../ScheduledJobs.ts"
import type { ScheduledJob } from "../../StacksSchema.ts"

/**
 * The jobs that were emitted and may still be listed.
 *
 * A poll reads the oldest jobs only, up to its horizon: the time of the last job that it lists. A job from before the horizon that
 * the poll does not list is gone. A later job may still be listed, on a page that the poll did not read because older jobs came
 * in between.
 */
export class SeenJobs {
  /** When each job was scheduled, by id, in the order in which the jobs were last listed. */
  readonly #scheduledAt = new Map<string, number>()
  readonly #capacity: number

  /** Above `capacity`, the jobs that were not listed for the longest time are removed. */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Adds the jobs of a poll, and returns the new ones. */
  add(poll: Poll): ReadonlyArray<ScheduledJob> {
    this.#update(poll)
    const added: Array<ScheduledJob> = []
    for (const job of poll.jobs) {
      if (this.#scheduledAt.has(job.id)) continue
      this.#scheduledAt.set(job.id, DateTime.toEpochMillis(job.scheduledAt))
      added.push(job)
    }
    for (const id of this.#scheduledAt.keys()) {
      if (this.#scheduledAt.size <= this.#capacity) break
      this.#scheduledAt.delete(id)
    }
    return added
  }

  #update({ isComplete, listed }: Poll): void {
    const listedIds = new Set<string>()
    for (const { id, scheduledAt } of listed) {
      listedIds.add(id)
      if (this.#scheduledAt.delete(id)) this.#scheduledAt.set(id, DateTime.toEpochMillis(scheduledAt))
    }
    const last = listed.at(-1)
    const horizon = isComplete
      ? Number.POSITIVE_INFINITY
      : last === undefined
        ? Number.NEGATIVE_INFINITY
        : DateTime.toEpochMillis(last.scheduledAt)
    for (const [id, scheduledAt] of this.#scheduledAt) {
      if (scheduledAt < horizon && !listedIds.has(id)) this.#scheduledAt.delete(id)
    }
  }
}
