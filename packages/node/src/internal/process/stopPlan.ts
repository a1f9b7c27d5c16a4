/** How a process is stopped. */
import * as Duration from "effect/Duration"

/** SIGTERM, then what is planned, counted from that SIGTERM. */
export interface StopPlan {
  /** When a second SIGTERM goes out. */
  readonly again?: Duration.Duration | undefined
  /** When SIGKILL goes out, to all that is left. */
  readonly killAfter: Duration.Duration
}

/** A time that a user gives, 10 seconds by default; longer than people wait, and numbers of programs end. */
export const gracePeriod = (input: Duration.Input | undefined): Duration.Duration =>
  Duration.min(Duration.fromInputUnsafe(input ?? "10 seconds"), Duration.days(7))
