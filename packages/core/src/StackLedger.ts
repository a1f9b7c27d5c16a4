/**
 * What a stack writes down about the jobs it has, so that another life of it can go on with them: after a crash, or on another
 * machine.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { ScheduledJob } from "./StacksSchema.ts"

/**
 * A job that an earlier life of the stack wrote down and did not strike.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly job: ScheduledJob
  /** Whether its runner was started. If not, the job may not even be reserved. */
  readonly isStarted: boolean
}

/**
 * The book in which a stack keeps its jobs.
 *
 * **Details**
 *
 * A job is entered before it is reserved and struck when the stack has nothing to do with it any more. In between it is the
 * stack's: whoever reads the book later knows of every job that may be reserved, and of no others.
 *
 * At its start a stack reads the book, reserves the jobs in it again and starts their runners: a runner for which `isStarted`
 * may be true has to find out by itself what became of the first start.
 *
 * @since 0.1.0
 * @category models
 */
export interface StackLedger {
  /** What earlier lives left. Asked for once, at the start; a failure fails the start. */
  readonly entries: Effect.Effect<ReadonlyArray<Entry>>
  /** Writes jobs down before they are reserved. Says false where that is not possible now: then they are not reserved. */
  readonly enter: (jobs: ReadonlyArray<ScheduledJob>) => Effect.Effect<boolean>
  /** Strikes jobs. Whatever fails is the ledger's to try again. */
  readonly strike: (jobUuids: ReadonlyArray<string>) => Effect.Effect<void>
}
