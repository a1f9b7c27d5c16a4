/** Jobs that could not be reserved or started, and when they may be tried again. */
import * as Duration from "effect/Duration"

const firstDelay = 5000
const maxDelay = 300_000
/** A job that was not seen to fail for so long is forgotten. */
const memory = 3_600_000

/** 5 seconds, twice as long each further time, at most 5 minutes. */
const delayAfter = (failures: number): number => Math.min(maxDelay, firstDelay * 2 ** (failures - 1))

export class Quarantine {
  private readonly entries = new Map<string, { readonly failures: number; readonly until: number }>()

  /** Notes one more failure; returns how many there were and how long the job is left alone. */
  add(jobUuid: string, now: number): { readonly failures: number; readonly delay: Duration.Duration } {
    const failures = (this.entries.get(jobUuid)?.failures ?? 0) + 1
    const delay = delayAfter(failures)
    this.entries.delete(jobUuid)
    this.entries.set(jobUuid, { failures, until: now + delay })
    this.forgetOld(now)
    return { failures, delay: Duration.millis(delay) }
  }

  failuresOf(jobUuid: string): number {
    return this.entries.get(jobUuid)?.failures ?? 0
  }

  has(jobUuid: string, now: number): boolean {
    const entry = this.entries.get(jobUuid)
    return entry !== undefined && entry.until > now
  }

  /** The job got on. */
  clear(jobUuid: string): void {
    this.entries.delete(jobUuid)
  }

  /** Entries are in the order in which they were noted. */
  private forgetOld(now: number): void {
    for (const [jobUuid, { until }] of this.entries) {
      if (until + memory > now) return
      this.entries.delete(jobUuid)
    }
  }
}
