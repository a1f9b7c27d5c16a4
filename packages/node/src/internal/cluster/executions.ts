/** The executions of jobs on this process, and their results, for as long as a leader may ask for them. */
import type { StopReason } from "@stacksapi/core/JobRunner"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import type * as Deferred from "effect/Deferred"
import type * as Fiber from "effect/Fiber"
import type { Answer } from "./jobEntity.ts"
import type { JobKey } from "./ownership.ts"

export interface Execution {
  readonly key: JobKey
  readonly dispatchId: number
  readonly job: ScheduledJob
  readonly fiber: Fiber.Fiber<Answer>
  /** Done when the runner has to stop. */
  readonly stopRequested: Deferred.Deferred<StopReason>
  /** Since when this process owns the job. */
  claimedAt: number | undefined
  /** Whether the runner was called, in this execution or in an earlier one that was interrupted. */
  hasStarted: boolean
  /** Whether it holds a slot. */
  isRunning: boolean
  /** Whether an agent may have been started for it. */
  hasAgent: boolean
  endedAt: number | undefined
  /** When the job's state was last read, for a job that has an agent and that this process no longer owns. */
  checkedAt: number | undefined
}

export class Executions {
  readonly #executions = new Map<string, Execution>()

  add(execution: Execution): void {
    this.#executions.set(idOf(execution.key, execution.dispatchId), execution)
  }

  /** The execution of a dispatch, if it is active or has ended by itself. */
  find(key: JobKey, dispatchId: number): Execution | undefined {
    const execution = this.#executions.get(idOf(key, dispatchId))
    const end = execution?.fiber.pollUnsafe()
    return end === undefined || end._tag === "Success" ? execution : undefined
  }

  hasStarted(key: JobKey, dispatchId: number): boolean {
    return this.#executions.get(idOf(key, dispatchId))?.hasStarted ?? false
  }

  /** All executions that `compare` has not dropped. */
  get all(): ReadonlyArray<Execution> {
    return Array.from(this.#executions.values())
  }

  get active(): ReadonlyArray<Execution> {
    return this.all.filter(({ endedAt }) => endedAt === undefined)
  }

  /** Executions of the same job by other dispatches that are still running. */
  others(execution: Execution): ReadonlyArray<Execution> {
    const { jobUuid, stackKey } = execution.key
    return this.active.filter(
      (other) =>
        other !== execution && other.isRunning && other.key.jobUuid === jobUuid && other.key.stackKey === stackKey
    )
  }

  /**
   * Compares the executions with the jobs that this process owned at `askedAt`. Drops executions that ended before `askedAt`, and
   * returns the ones that are still running but no longer owned.
   */
  compare(owned: ReadonlyArray<JobKey & { readonly dispatchId: number }>, askedAt: number): ReadonlyArray<Execution> {
    const ids = new Set(owned.map((job) => idOf(job, job.dispatchId)))
    const lost: Array<Execution> = []
    for (const [id, execution] of this.#executions) {
      if (ids.has(id)) continue
      if (execution.endedAt !== undefined) {
        if (execution.endedAt < askedAt) this.#executions.delete(id)
      } else if (execution.claimedAt !== undefined && execution.claimedAt < askedAt) {
        lost.push(execution)
      }
    }
    return lost
  }
}

const idOf = ({ jobUuid, stackKey }: JobKey, dispatchId: number): string => `${stackKey}/${jobUuid}/${dispatchId}`
