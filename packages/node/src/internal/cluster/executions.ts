/** The executions of this process: the jobs that it runs, and those that have ended, until the database confirms that they are not its own. */
import type { StopReason } from "@stacksapi/core/JobRunner"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Outcome } from "./outcome.ts"
import type { ClaimedJob, OwnedJob } from "./storage.ts"

export interface Execution extends ClaimedJob {
  readonly job: ScheduledJob
  /** The member that claimed the job. */
  readonly memberId: number
  readonly fiber: Fiber.Fiber<Outcome>
  /** Done when the runner has to stop. */
  readonly stopRequested: Deferred.Deferred<StopReason>
  /** The current reason; undefined if the runner need not stop. */
  stopReason: StopReason | undefined
  /** The sequence number of the last snapshot request that was sent when this process learned that it owns the job. */
  readonly claimedAtSnapshot: number
  /** Whether this process owns the job, as far as it knows. */
  isOwned: boolean
  /** Whether the runner is at work. */
  isRunning: boolean
  /** Whether an agent may have been started for it. */
  hasAgent: boolean
  hasEnded: boolean
  /** The sequence number of the last snapshot request that was sent when its end was written. */
  writtenAtSnapshot: number | undefined
  /** When the job's state was last read, for a job that has an agent and that this process no longer owns. */
  checkedAt: number | undefined
}

/** Tells the runner of an execution why it should stop. Another reason replaces only `Shutdown`. */
export const requestStop = (execution: Execution, reason: StopReason): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { stopReason } = execution
    if (stopReason === undefined || stopReason === "Shutdown") execution.stopReason = reason
    return Effect.asVoid(Deferred.succeed(execution.stopRequested, reason))
  })

export class Executions {
  readonly #executions = new Map<number, Execution>()
  /**
   * Jobs that the database names as owned by this process and that it does not know. The value is the number of the last claim whose
   * response may contain the job.
   */
  readonly #unknown = new Map<number, number>()

  add(execution: Execution): void {
    this.#executions.set(execution.dispatch, execution)
  }

  has(dispatch: number): boolean {
    return this.#executions.has(dispatch)
  }

  get active(): ReadonlyArray<Execution> {
    return Array.from(this.#executions.values()).filter(({ hasEnded }) => !hasEnded)
  }

  /** Earlier executions of the same job that are still running. */
  others({ dispatch, job, stackKey }: Execution): ReadonlyArray<Execution> {
    return this.active.filter(
      (other) => other.dispatch !== dispatch && other.job.id === job.id && other.stackKey === stackKey
    )
  }

  /** Drops an execution whose member is gone: no row names it any more. */
  forget(execution: Execution): void {
    if (this.#executions.get(execution.dispatch) === execution) this.#executions.delete(execution.dispatch)
  }

  /** Drops the executions of a member that is gone, and returns those that are still running. Reports drop those that are not written. */
  onMemberRemoved(memberId: number): ReadonlyArray<Execution> {
    for (const execution of this.#executions.values()) {
      if (execution.memberId === memberId && execution.writtenAtSnapshot !== undefined) this.forget(execution)
    }
    return this.active.filter((execution) => execution.memberId === memberId)
  }

  /**
   * Compares the executions of a member with the jobs that it owned when snapshot number `snapshotNumber` was taken. Drops executions
   * whose end the database knew by then. Returns the executions whose job the member lost, and those that should stop.
   */
  compare(memberId: number, owned: ReadonlyArray<OwnedJob>, snapshotNumber: number) {
    const stops = new Map(owned.map(({ dispatch, stop }) => [dispatch, stop]))
    const lost: Array<Execution> = []
    const stopping: Array<readonly [Execution, StopReason]> = []
    for (const [dispatch, execution] of this.#executions) {
      if (execution.memberId !== memberId) continue
      const stop = stops.get(dispatch)
      if (stop !== undefined) {
        if (stop !== null && !execution.hasEnded) stopping.push([execution, stop])
      } else if (execution.hasEnded) {
        if (execution.writtenAtSnapshot !== undefined && execution.writtenAtSnapshot < snapshotNumber)
          this.#executions.delete(dispatch)
      } else if (execution.claimedAtSnapshot < snapshotNumber) lost.push(execution)
    }
    return { lost, stopping }
  }

  /**
   * The jobs of claims whose responses were lost. A snapshot may show a job before the response to its claim arrives. So a job counts as
   * unknown only when all claims that had begun at the time of the snapshot have ended.
   */
  unknownJobs(
    owned: ReadonlyArray<OwnedJob>,
    claims: { readonly begun: number; readonly ended: number }
  ): ReadonlyArray<number> {
    const unknown = owned.map(({ dispatch }) => dispatch).filter((dispatch) => !this.has(dispatch))
    for (const dispatch of this.#unknown.keys()) if (!unknown.includes(dispatch)) this.#unknown.delete(dispatch)
    for (const dispatch of unknown) if (!this.#unknown.has(dispatch)) this.#unknown.set(dispatch, claims.begun)
    return unknown.filter((dispatch) => (this.#unknown.get(dispatch) ?? 0) <= claims.ended)
  }
}
