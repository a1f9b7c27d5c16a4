/** How a process is stopped. */
import * as Duration from "effect/Duration"

/** SIGTERM, then what the policy says. All times are counted from that SIGTERM. */
export interface TerminationPolicy {
  /** When a second SIGTERM goes out. */
  readonly again?: Duration.Duration | undefined
  /** When SIGKILL goes out, to all that is left. */
  readonly killAfter: Duration.Duration
  /** How long orphans of a process that has ended have from SIGTERM to SIGKILL. Default 2 seconds. */
  readonly orphanGrace?: Duration.Duration | undefined
}

/** SIGKILL at once, to the process and to its orphans. */
export const atOnce: TerminationPolicy = { killAfter: Duration.zero, orphanGrace: Duration.zero }

/** A time that a user gives, 10 seconds by default. At most 7 days: timers of programs overflow beyond that. */
export const gracePeriod = (input: Duration.Input | undefined): Duration.Duration =>
  Duration.min(Duration.fromInputUnsafe(input ?? "10 seconds"), Duration.days(7))
