/** Delays of jobs that could not be reserved, could not be started, or were released. Times are monotonic. For polls, see `pollBackoff.ts`. */

/** The first delay of a job, and the longest one. The delay doubles in between. */
export interface BackoffOptions {
  readonly firstMillis: number
  readonly maxMillis: number
}

/** 5, 10, 20 seconds … 5 minutes. */
export const standard: BackoffOptions = { firstMillis: 5000, maxMillis: 300_000 }

/** 5, 10, 20, 30 seconds. */
export const forCapacity: BackoffOptions = { firstMillis: 5000, maxMillis: 30_000 }

/** 30 seconds, 1, 2 minutes … 1 hour. */
export const afterRelease: BackoffOptions = { firstMillis: 30_000, maxMillis: 3_600_000 }

/** The delay after this many failures in a row. */
export const delayAfter = (failures: number, { firstMillis, maxMillis }: BackoffOptions = standard): number =>
  Math.min(maxMillis, firstMillis * 2 ** Math.min(30, failures - 1))

/** How long after the end of its delay a job's failures are remembered. */
const memoryMillis = 3_600_000

interface Entry {
  readonly failures: number
  readonly until: number
  /** Whether requests failed because of this job, so that it is requested alone. */
  readonly isOffender: boolean
}

export class Backoff {
  readonly #entries = new Map<string, Entry>()

  /** Counts one more failure. */
  add(jobUuid: string, now: number, options: BackoffOptions = standard, isOffender = false): void {
    const before = this.#entries.get(jobUuid)
    const failures = (before?.failures ?? 0) + 1
    this.#entries.delete(jobUuid)
    this.#entries.set(jobUuid, { failures, until: now + delayAfter(failures, options), isOffender })
    this.#forgetOld(now)
  }

  /** Whether the job's delay has not ended yet. */
  has(jobUuid: string, now: number): boolean {
    const entry = this.#entries.get(jobUuid)
    return entry !== undefined && entry.until > now
  }

  isOffender(jobUuid: string): boolean {
    return this.#entries.get(jobUuid)?.isOffender === true
  }

  clear(jobUuid: string): void {
    this.#entries.delete(jobUuid)
  }

  /** Entries are in the order in which they were added. */
  #forgetOld(now: number): void {
    for (const [jobUuid, { until }] of this.#entries) {
      if (until + memoryMillis > now) return
      this.#entries.delete(jobUuid)
    }
  }
}
