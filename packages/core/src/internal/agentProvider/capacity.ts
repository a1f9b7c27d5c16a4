/** Tracks which kinds of jobs wait for capacity. No more jobs of such a kind are reserved. */
import type * as Clock from "effect/Clock"
import type { ScheduledJob } from "../../StacksSchema.ts"
import { monotonicMillis } from "../monotonicMillis.ts"

/** A waiting job is tried again within 30 seconds. Without a try for this long it no longer counts. */
const memoryMillis = 45_000

/** The kind of a job: jobs of one stack with equal amounts and rules have the same kind. */
const kindOf = (job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): string =>
  JSON.stringify([stackKey, Object.entries(requests).sort(), Array.from(job.agentQueryRules).sort()])

interface Wait {
  readonly kind: string
  readonly since: number
  seenAt: number
}

export class CapacityWaits {
  readonly #clock: Clock.Clock
  /** The waiting jobs of each kind. */
  readonly #kinds = new Map<string, Map<string, Wait>>()
  /** The waiting jobs, in the order of `seenAt`. */
  readonly #jobs = new Map<string, Wait>()

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  /** Records that there is no capacity for a job. Returns for how many milliseconds the job has waited. */
  wait(job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): number {
    const now = monotonicMillis(this.#clock)
    const kind = kindOf(job, requests, stackKey)
    const wait: Wait = { kind, since: this.#jobs.get(job.id)?.since ?? now, seenAt: now }
    this.end(job.id)
    this.#jobs.set(job.id, wait)
    const ofKind = this.#kinds.get(kind) ?? new Map<string, Wait>()
    this.#kinds.set(kind, ofKind.set(job.id, wait))
    for (const [jobUuid, { seenAt }] of this.#jobs) {
      if (seenAt + 10 * memoryMillis > now) break
      this.end(jobUuid)
    }
    return now - wait.since
  }

  /** Records that there is capacity for a job, or that the job no longer waits. Others of its kind may still wait. */
  end(jobUuid: string): void {
    const kind = this.#jobs.get(jobUuid)?.kind
    if (kind === undefined) return
    this.#jobs.delete(jobUuid)
    const ofKind = this.#kinds.get(kind)
    ofKind?.delete(jobUuid)
    if (ofKind?.size === 0) this.#kinds.delete(kind)
  }

  /** Whether a job of the same kind waits. */
  isWaiting(job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string): boolean {
    if (this.#kinds.size === 0) return false
    const now = monotonicMillis(this.#clock)
    const ofKind = this.#kinds.get(kindOf(job, requests, stackKey))?.values() ?? []
    return Array.from(ofKind).some(({ seenAt }) => seenAt + memoryMillis > now)
  }
}
