/** How a process is stopped. */
import type * as Duration from "effect/Duration"

/** SIGTERM, then what is planned, counted from that SIGTERM. */
export interface StopPlan {
  /** When a second SIGTERM goes out. */
  readonly again?: Duration.Duration | undefined
  /** When SIGKILL goes out, to all that is left. */
  readonly killAfter: Duration.Duration
}
