/**
 * Decides whether one job may be the cause if a request for many jobs keeps failing, and remembers such jobs.
 *
 * A 5xx, a timeout, a 404 or an invalid response is usually a failure of the service. After three failures in a row while other requests
 * succeed, a job in the request may be the cause. Then the request is divided.
 */
import type { StacksError } from "../../StacksError.ts"
import { mayBeOneJobAfterAll } from "../isolate.ts"
import { Backoff, type BackoffOptions, standard } from "./jobBackoff.ts"
import type { StackState } from "./stackState.ts"

const maxFailures = 3

export class RequestStreak {
  readonly #state: StackState
  readonly #backoff = new Backoff()
  readonly #delays: BackoffOptions
  /** Jobs that made their requests fail. They are requested alone. */
  readonly offenders = new Set<string>()
  #failures = 0
  #successesBefore = 0

  /** `delays` determines when an offender is requested again. */
  constructor(state: StackState, delays: BackoffOptions = standard) {
    this.#state = state
    this.#delays = delays
  }

  /** Records that a request for several jobs failed. */
  failed(): void {
    if (this.#failures === 0) this.#successesBefore = this.#state.dependencies.monitor.successes()
    this.#failures++
  }

  succeeded(): void {
    this.#failures = 0
  }

  /** Whether a request fails because of its only job, which has made requests fail before. */
  isOffenderToBlame(error: StacksError): boolean {
    return mayBeOneJobAfterAll(error)
  }

  /** Whether dividing a request with this failure may help. */
  isOneJobToBlame(error: StacksError): boolean {
    return (
      this.isOffenderToBlame(error) &&
      this.#failures + 1 >= maxFailures &&
      this.#state.dependencies.monitor.successes() > this.#successesBefore
    )
  }

  /** Records that a job made its request fail. */
  addOffender(jobUuid: string): void {
    this.offenders.add(jobUuid)
    this.#backoff.add(jobUuid, this.#state.now(), this.#delays)
    for (const oldest of this.offenders) {
      if (this.offenders.size <= 1000) break
      this.offenders.delete(oldest)
    }
  }

  /** Whether an offender may be requested again. */
  isDue(jobUuid: string): boolean {
    return !this.#backoff.has(jobUuid, this.#state.now())
  }

  clear(jobUuid: string): void {
    if (this.offenders.delete(jobUuid)) this.#backoff.clear(jobUuid)
  }
}
