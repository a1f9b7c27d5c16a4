/**
 * Tells whether one job may be to blame when a request for many jobs keeps failing, and remembers the jobs that were.
 *
 * A 5xx, a timeout, a 404 or an odd response is mostly the service's own trouble. After three failures in a row, while other requests succeed, the request
 * itself may be at fault: then it is divided.
 */
import type { StacksError } from "../../StacksError.ts"
import { mayBeOneJobAfterAll } from "../isolate.ts"
import { Backoff, type BackoffOptions, standard } from "./backoff.ts"
import type { StackState } from "./stackState.ts"

const maxFailures = 3

export class RequestStreak {
  readonly #state: StackState
  readonly #backoff = new Backoff()
  readonly #delays: BackoffOptions
  /** Jobs that made their requests fail. They travel alone. */
  readonly suspects = new Set<string>()
  #failures = 0
  #successesBefore = 0

  /** `delays` says when a suspect is asked about again. */
  constructor(state: StackState, delays: BackoffOptions = standard) {
    this.#state = state
    this.#delays = delays
  }

  /** A request for several jobs failed. */
  failed(): void {
    if (this.#failures === 0) this.#successesBefore = this.#state.dependencies.monitor.successes()
    this.#failures++
  }

  succeeded(): void {
    this.#failures = 0
  }

  /** Whether a request fails because of the one job in it, which has made requests fail before. */
  isSuspectToBlame(error: StacksError): boolean {
    return mayBeOneJobAfterAll(error)
  }

  /** Whether dividing a request that failed like this may help. */
  isOneJobToBlame(error: StacksError): boolean {
    return (
      this.isSuspectToBlame(error) &&
      this.#failures + 1 >= maxFailures &&
      this.#state.dependencies.monitor.successes() > this.#successesBefore
    )
  }

  /** A job made its request fail. */
  suspect(jobUuid: string): void {
    this.suspects.add(jobUuid)
    this.#backoff.add(jobUuid, this.#state.now(), this.#delays)
    for (const oldest of this.suspects) {
      if (this.suspects.size <= 1000) break
      this.suspects.delete(oldest)
    }
  }

  /** Whether a suspect may be asked about again. */
  isDue(jobUuid: string): boolean {
    return !this.#backoff.has(jobUuid, this.#state.now())
  }

  clear(jobUuid: string): void {
    if (this.suspects.delete(jobUuid)) this.#backoff.clear(jobUuid)
  }
}
