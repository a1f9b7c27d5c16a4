/**
 * What a stack does with a job that it has reserved: the part that only its author can write.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import type { StacksError } from "./StacksError.ts"
import type { JobDetails, JobState, ScheduledJob } from "./StacksSchema.ts"

/**
 * How a job ended, or who has it now:
 * - `AgentOwned`: an agent took the job. There is nothing to finish; the stack makes sure that the agent really has it, and
 *   finishes the job with -1 and `stack_error` where it is still only reserved.
 * - `Finished`: the job ran without an agent. The stack finishes it with this status and detail.
 *
 * @since 0.1.0
 * @category models
 */
export type JobOutcome = Data.TaggedEnum<{
  AgentOwned: {}
  Finished: { readonly exitStatus: number; readonly detail: string; readonly signalReason?: string | undefined }
}>

const outcome = Data.taggedEnum<JobOutcome>()

/**
 * An agent took the job.
 *
 * @since 0.1.0
 * @category outcomes
 */
export const AgentOwned: JobOutcome = outcome.AgentOwned()

/**
 * The job ran without an agent, and ended like this. 0 is success; `detail` is shown on the job's page.
 *
 * @since 0.1.0
 * @category outcomes
 */
export const Finished: (end: {
  readonly exitStatus: number
  readonly detail: string
  readonly signalReason?: string | undefined
}) => JobOutcome = outcome.Finished

/**
 * The job could not be run. The stack finishes it with -1, `stack_error` and this message.
 *
 * With `isRetryable` the job has not been started and may be later: the stack keeps it reserved and starts it again after a
 * delay, 5 seconds the first time and twice as long each further time up to 5 minutes; after the fifth time it gives up and
 * finishes it.
 *
 * @since 0.1.0
 * @category errors
 */
export class JobRunnerError extends Data.TaggedError("JobRunnerError")<{
  readonly message: string
  readonly isRetryable?: boolean | undefined
  readonly cause?: unknown
}> {}

/**
 * A reserved job, and what a runner may want of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobContext {
  readonly job: ScheduledJob
  /** The key of the stack that reserved the job. */
  readonly stackKey: string
  /** The job's environment and command; asked for at the first use, once. */
  readonly details: Effect.Effect<JobDetails, StacksError>
  /**
   * The token with which one agent may acquire this job; issued at the first use, once. Ask for it right before the agent
   * starts. Fails with a {@link JobRunnerError} where the service does not issue one: then the job must not be started.
   */
  readonly acquisitionToken: Effect.Effect<Redacted.Redacted, StacksError | JobRunnerError>
  /** The job's state now, as the service tells it; undefined where it does not tell. Waits for as long as the service is away. */
  readonly state: Effect.Effect<JobState | undefined>
  /** Shows a text of at most 256 characters on the job's page. Returns at once. */
  readonly notify: (text: string) => Effect.Effect<void>
}

/**
 * Runs one job. Interrupted when the job is canceled, when its reservation is lost, and when the stack shuts down and its
 * grace is over.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly run: (context: JobContext) => Effect.Effect<JobOutcome, JobRunnerError>
}

/**
 * What a stack does with its jobs.
 *
 * @since 0.1.0
 * @category services
 */
export class JobRunner extends Context.Service<JobRunner, Service>()("@stacksapi/core/JobRunner") {}

/**
 * A runner from a function, without a layer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E>(run: (context: JobContext) => Effect.Effect<JobOutcome, E>): Service => ({
  run: (context) =>
    Effect.mapError(run(context), (error) =>
      error instanceof JobRunnerError ? error : new JobRunnerError({ message: messageOf(error), cause: error })
    )
})

const messageOf = (error: unknown): string => (Predicate.isError(error) ? error.message : String(error))

/**
 * A runner from a function. Any failure or defect of it finishes the job with -1 and `stack_error`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E, R>(
  run: (context: JobContext) => Effect.Effect<JobOutcome, E, R>
): Layer.Layer<JobRunner, never, R> =>
  Layer.effect(
    JobRunner,
    Effect.contextWith((context: Context.Context<R>) =>
      Effect.succeed(make((job) => Effect.provideContext(run(job), context)))
    )
  )
