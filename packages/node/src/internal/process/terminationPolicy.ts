/** Termination policies: how processes are stopped. */
import * as Duration from "effect/Duration"

/** SIGTERM first. All times count from that. */
export interface TerminationPolicy {
  /** When the second SIGTERM is sent. */
  readonly again?: Duration.Duration | undefined
  /** When SIGKILL is sent to the remaining processes. */
  readonly killAfter: Duration.Duration
  /** The time from SIGTERM to SIGKILL for the orphans of a process. Default 2 seconds. */
  readonly orphanGrace?: Duration.Duration | undefined
}

/** SIGKILL at once, to the process and to its orphans. */
export const atOnce: TerminationPolicy = { killAfter: Duration.zero, orphanGrace: Duration.zero }

/** The grace period of an option, 10 seconds by default. At most 7 days, because timers of programs overflow beyond that. */
export const gracePeriod = (input: Duration.Input | undefined): Duration.Duration =>
  Duration.min(Duration.fromInputUnsafe(input ?? "10 seconds"), Duration.days(7))
