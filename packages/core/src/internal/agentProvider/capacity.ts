/** Which kinds of jobs wait for capacity. Of such a kind no more jobs are reserved. */
import type * as Clock from "effect/Clock"
import type { ScheduledJob } from "../../StacksSchema.ts"
import { monotonicMillis } from "../monotonicMillis.ts"

/** A job that waits is tried again within 30 seconds. A kind without a try for so long does not wait any more. */
const memoryMillis = 45_000

/** Jobs with equal amounts and rules of a stack. */
const kindOf = (job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): string =>
  JSON.stringify([stackKey, Object.entries(requests).sort(), Array.from(job.agentQueryRules).sort()])

export class CapacityWaits {
  readonly #clock: Clock.Clock
  /** By kind, until when it counts as waiting. */
  readonly #kinds = new Map<string, number>()
  /** By job, since when it has waited, and when it was last seen waiting. */
  readonly #jobs = new Map<string, { readonly since: number; seenAt: number }>()

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  /** A job finds no capacity. Returns for how many milliseconds it has waited. */
  wait(job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): number {
    const now = monotonicMillis(this.#clock)
    this.#kinds.set(kindOf(job, requests, stackKey), now + memoryMillis)
    const waiting = this.#jobs.get(job.id) ?? { since: now, seenAt: now }
    waiting.seenAt = now
    this.#jobs.delete(job.id)
    this.#jobs.set(job.id, waiting)
    // Those that were seen first come first.
    for (const [jobUuid, { seenAt }] of this.#jobs) {
      if (seenAt + 10 * memoryMillis > now) break
      this.#jobs.delete(jobUuid)
    }
    return now - waiting.since
  }

  /** A job has found capacity, or waits no more. */
  end(jobUuid: string): void {
    this.#jobs.delete(jobUuid)
  }

  /** There is capacity for jobs like this one. */
  found(job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): void {
    this.#jobs.delete(job.id)
    this.#kinds.delete(kindOf(job, requests, stackKey))
  }

  isWaiting(job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): boolean {
    if (this.#kinds.size === 0) return false
    const kind = kindOf(job, requests, stackKey)
    const until = this.#kinds.get(kind)
    if (until === undefined) return false
    if (until > monotonicMillis(this.#clock)) return true
    this.#kinds.delete(kind)
    return false
  }
}
