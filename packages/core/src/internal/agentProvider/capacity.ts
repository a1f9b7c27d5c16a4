/** Tracks which kinds of jobs wait for capacity. No more jobs of such a kind are reserved. */
import type * as Clock from "effect/Clock"
import type { ScheduledJob } from "../../StacksSchema.ts"
import { monotonicMillis } from "../monotonicMillis.ts"

/** A waiting job is tried again within 30 seconds. A kind without a try for this long no longer waits. */
const memoryMillis = 45_000

/** The kind of a job: jobs of one stack with equal amounts and rules have the same kind. */
const kindOf = (job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): string =>
  JSON.stringify([stackKey, Object.entries(requests).sort(), Array.from(job.agentQueryRules).sort()])

export class CapacityWaits {
  readonly #clock: Clock.Clock
  /** For each kind, until when it counts as waiting. */
  readonly #kinds = new Map<string, number>()
  /** For each job, since when it has waited, and when it was last seen waiting. */
  readonly #jobs = new Map<string, { readonly since: number; seenAt: number }>()

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  /** Records that there is no capacity for a job. Returns for how many milliseconds the job has waited. */
  wait(job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): number {
    const now = monotonicMillis(this.#clock)
    this.#kinds.set(kindOf(job, requests, stackKey), now + memoryMillis)
    const waiting = this.#jobs.get(job.id) ?? { since: now, seenAt: now }
    waiting.seenAt = now
    this.#jobs.delete(job.id)
    this.#jobs.set(job.id, waiting)
    // The map is in the order of `seenAt`.
    for (const [jobUuid, { seenAt }] of this.#jobs) {
      if (seenAt + 10 * memoryMillis > now) break
      this.#jobs.delete(jobUuid)
    }
    return now - waiting.since
  }

  /** Records that there is capacity for a job, or that the job no longer waits. */
  end(jobUuid: string): void {
    this.#jobs.delete(jobUuid)
  }

  /** Records that there is capacity for jobs of this kind. */
  recordAvailable(job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): void {
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
