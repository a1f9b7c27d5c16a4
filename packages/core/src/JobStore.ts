/**
 * Where a stack saves its jobs, so that the next process continues with them after a restart or a crash.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ScheduledJob } from "./StacksSchema.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * The store could not be read or written.
 *
 * @since 0.2.0
 * @category errors
 */
export class JobStoreError extends Data.TaggedError("JobStoreError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * How a job ended. The service may not have accepted its finish yet.
 *
 * @since 0.2.0
 * @category models
 */
export interface SavedOutcome {
  readonly exitStatus: number
  readonly detail: string
  readonly signalReason?: string | undefined
}

/**
 * A job that a stack may have reserved. It contains no secrets: neither an acquisition token nor the job's environment.
 *
 * @since 0.2.0
 * @category models
 */
export interface SavedJob {
  readonly job: ScheduledJob
  /** Set if the job has ended. Then the next process finishes it, and never runs it. */
  readonly outcome?: SavedOutcome | undefined
}

/**
 * Saves the jobs of stacks.
 *
 * **Details**
 *
 * A stack saves a job before it reserves it, with one call for all jobs of a reserve request. It removes the job when nothing is left
 * to do for it. So the store names every job that may be reserved under the stack's key. When a stack starts, it loads its jobs, sends
 * the outcomes among them, and reserves the others again. This extends existing reservations, and shows which jobs are not reserved.
 *
 * Tokens are never saved.
 *
 * @since 0.2.0
 * @category models
 */
export interface Service {
  /** The jobs that are saved under a stack's key. A stack calls it once, when it starts. */
  readonly load: (stackKey: string) => Effect.Effect<ReadonlyArray<SavedJob>, JobStoreError>
  /** Saves jobs, and replaces earlier versions of them. A stack does not reserve jobs that could not be saved. */
  readonly save: (stackKey: string, jobs: ReadonlyArray<SavedJob>) => Effect.Effect<void, JobStoreError>
  /** Removes jobs. Ids that are not saved are ignored. */
  readonly remove: (stackKey: string, jobUuids: ReadonlyArray<string>) => Effect.Effect<void, JobStoreError>
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The store that stacks use. The default saves nothing: a stack's jobs are only in its memory, and end with it.
 *
 * @see {@link layerMemory} for consecutive stacks in one process, as in tests
 * @since 0.2.0
 * @category references
 */
export const JobStore: Context.Reference<Service> = Context.Reference("@stacksapi/core/JobStore", {
  defaultValue: (): Service => ({
    load: () => Effect.succeed([]),
    save: () => Effect.void,
    remove: () => Effect.void
  })
})

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Makes a store in memory. It outlives the stacks that use it, and ends with the process.
 *
 * @since 0.2.0
 * @category constructors
 */
export const makeMemory: Effect.Effect<Service> = Effect.sync(() => {
  const stacks = new Map<string, Map<string, SavedJob>>()
  const jobsOf = (stackKey: string) => {
    const jobs = stacks.get(stackKey) ?? new Map<string, SavedJob>()
    stacks.set(stackKey, jobs)
    return jobs
  }
  return {
    load: (stackKey) => Effect.sync(() => Array.from(jobsOf(stackKey).values())),
    save: (stackKey, jobs) =>
      Effect.sync(() => {
        for (const saved of jobs) jobsOf(stackKey).set(saved.job.id, saved)
      }),
    remove: (stackKey, jobUuids) =>
      Effect.sync(() => {
        for (const jobUuid of jobUuids) jobsOf(stackKey).delete(jobUuid)
      })
  }
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Keeps jobs in memory, for consecutive stacks in one process.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerMemory: Layer.Layer<never> = /*#__PURE__*/ Layer.effect(JobStore, makeMemory)
