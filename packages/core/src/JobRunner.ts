/**
 * How a stack runs a job that it has reserved. This is the part that the author of a stack writes.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { messageOf } from "./internal/messageOf.ts"
import { sendableOutcome } from "./internal/runnerOutcome.ts"
import type { StacksError } from "./StacksError.ts"
import type { JobDetails, JobState, ScheduledJob } from "./StacksSchema.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * The job could not be run.
 *
 * **Details**
 *
 * A failure of another type becomes a `JobRunnerError` with its message and its `isRetryable`, and with the failure as `cause`.
 *
 * `isRetryable: true` says that the job has not been started, and that the host may be able to start it later. The stack keeps the job
 * reserved and starts it again after 5 seconds. The delay doubles each time, up to 5 minutes. When `startTimeout` has passed since the
 * first such failure, the stack gives the job back to the queue.
 *
 * Otherwise the stack finishes the job with -1, `stack_error` and this message.
 *
 * @since 0.1.0
 * @category errors
 */
export class JobRunnerError extends Data.TaggedError("JobRunnerError")<{
  readonly message: string
  /** Whether the job was not started and may be started later. Default false. */
  readonly isRetryable?: boolean | undefined
  /**
   * Whether the job waits for capacity that other jobs may free. Set it together with `isRetryable: true`. Then the failure does not
   * count as host trouble: the job waits without a slot, starts again after 5 to 30 seconds, and `startTimeout` does not count. Default
   * false.
   */
  readonly waitsForCapacity?: boolean | undefined
  readonly cause?: unknown
}> {}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * How a job ended, or who has it now:
 * - `AgentOwned`: an agent has acquired the job, so there is nothing to finish. The stack checks this. If no agent has acquired the
 *   job, the stack finishes it with -1 and `stack_error`.
 * - `Finished`: the job ran without an agent. The stack finishes it with this status and detail.
 * - `Released`: this stack does not want the job. The stack gives it back to the queue, and does not take it again for 30 seconds. The
 *   delay doubles each time, up to 1 hour.
 *
 * @since 0.1.0
 * @category models
 */
export type JobOutcome = Data.TaggedEnum<{
  AgentOwned: {}
  Finished: { readonly exitStatus: number; readonly detail: string; readonly signalReason?: string | undefined }
  Released: { readonly reason: string }
}>

const outcome = Data.taggedEnum<JobOutcome>()

/**
 * Why a runner should stop:
 * - `Canceled`: the job was canceled, or has expired.
 * - `TimedOut`: the job has run for longer than its timeout.
 * - `ReservationLost`: another stack may have the job now.
 * - `Shutdown`: the stack drains. The job may still end within `shutdownGrace`.
 * - `Detach`: the stack stops, and leaves its jobs to the next process.
 *
 * @since 0.2.0
 * @category models
 */
export type StopReason = "Canceled" | "TimedOut" | "ReservationLost" | "Shutdown" | "Detach"

/**
 * A reserved job, and the effects that a runner may need for it.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobContext {
  readonly job: ScheduledJob
  /** The key of the stack that reserved the job. */
  readonly stackKey: string
  /** The queue that the job was taken from. */
  readonly queueKey: string
  /**
   * The job's environment and command. Requested at the first use, and kept; a failure is not kept. If your runner fails with this
   * failure, or with an error whose `cause` is this failure, the stack keeps the job reserved and starts it again later, for as long as
   * the service fails.
   */
  readonly details: Effect.Effect<JobDetails, StacksError>
  /**
   * The token with which one agent may acquire this job. Requested at the first use, and again when the last one is about to
   * expire. Get it immediately before the agent starts.
   *
   * If the service issues no token for the job, fails with a {@link JobRunnerError} that is not retryable: another stack may have the
   * job, and it must not be started. After any other failure the job starts again later, as after a failure of `details`.
   */
  readonly acquisitionToken: Effect.Effect<Redacted.Redacted, StacksError | JobRunnerError>
  /** Like `acquisitionToken`, but requests a new token at each use, for an agent that must not share a token. */
  readonly issueToken: Effect.Effect<AcquisitionToken, StacksError | JobRunnerError>
  /** The amounts that the job takes, by the stack's option `requests`. */
  readonly requests: Readonly<Record<string, number>>
  /** The job's current state; undefined if the service does not know the job. Waits while the service fails. */
  readonly state: Effect.Effect<JobState | undefined>
  /**
   * Succeeds with the reason when the runner should stop. An interruption follows. For `Canceled` and `TimedOut` it comes after
   * `cancelGrace`, or at once if no agent has acquired the job. For `ReservationLost` and `Detach` it comes at once, and for `Shutdown`
   * after `shutdownGrace`. Another reason may replace `Shutdown`: evaluate the effect again for the current one.
   */
  readonly stopRequested: Effect.Effect<StopReason>
  /** Shows a text of at most 256 characters on the job's page. Returns at once. */
  readonly notify: (text: string) => Effect.Effect<void>
}

/**
 * A token with which one agent may acquire one job.
 *
 * @since 0.2.0
 * @category models
 */
export interface AcquisitionToken {
  readonly token: Redacted.Redacted
  /** How long the token is valid from now. */
  readonly lifetime: Duration.Duration
}

/**
 * A stack, as its runner sees it.
 *
 * @since 0.2.0
 * @category models
 */
export interface AttachedStack {
  readonly stackKey: string
  readonly queueKey: string
  /** Whether the stack has this job, in any stage. */
  readonly hasJob: (jobUuid: string) => boolean
  /** The states of any jobs; undefined for jobs that the service does not know. Jobs whose states can't be read now are missing. */
  readonly states: (jobUuids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, JobState | undefined>>
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * Runs one job. {@link JobContext.stopRequested} says when the stack interrupts it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly run: (context: JobContext) => Effect.Effect<JobOutcome, JobRunnerError>
  /**
   * Whether the agents that the runner starts outlive the stack's process. If so, a stack detaches by default when it closes, and
   * after a restart it calls the runner again for jobs whose agents are working. Default false.
   */
  readonly outlivesStack?: boolean | undefined
  /**
   * Whether the stack may reserve a job for this runner now, for example `false` while there is no capacity for such jobs. Called
   * before each reservation, with the amounts that the job takes. Must return at once. Default: always.
   */
  readonly mayReserve?:
    | ((job: ScheduledJob, requests: Readonly<Record<string, number>>, stackKey: string) => boolean)
    | undefined
  /**
   * Why the runner can take no job now; undefined if it can. A stack shows it as `runnerUnavailable` in its status, and is not ready
   * meanwhile. It must not contain a secret. Must return at once. Default: undefined. See `mayReserve` to reserve no jobs.
   */
  readonly unavailable?: (() => string | undefined) | undefined
  /**
   * Whether a job has an agent of an earlier process; undefined if that is not known yet. Called for jobs of an earlier process before
   * they start: jobs with an agent go first. Must return at once. Without this function, they start like all other jobs.
   */
  readonly hasAgent?: ((jobUuid: string, stackKey: string) => boolean | undefined) | undefined
  /** Called when a stack starts with this runner. The scope closes when the stack ends. Must return soon. Default: nothing. */
  readonly attach?: ((stack: AttachedStack) => Effect.Effect<void, never, Scope.Scope>) | undefined
}

/**
 * How a stack runs its jobs.
 *
 * @since 0.1.0
 * @category services
 */
export class JobRunner extends Context.Service<JobRunner, Service>()("@stacksapi/core/JobRunner") {}

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

/**
 * What a stack must know about a runner.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** See {@link Service.outlivesStack}. Default false. */
  readonly outlivesStack?: boolean | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * An agent has acquired the job.
 *
 * @since 0.1.0
 * @category constructors
 */
export const AgentOwned: JobOutcome = outcome.AgentOwned()

/**
 * The job ran without an agent, and ended like this. 0 is success. `detail` is shown on the job's page.
 *
 * @since 0.1.0
 * @category constructors
 */
export const Finished: (end: {
  readonly exitStatus: number
  readonly detail: string
  readonly signalReason?: string | undefined
}) => JobOutcome = outcome.Finished

/**
 * This stack gives the job back to the queue.
 *
 * @since 0.2.0
 * @category constructors
 */
export const Released: (release: { readonly reason: string }) => JobOutcome = outcome.Released

/**
 * An outcome that the service accepts: this one, or, if it is malformed (for example with an exit status of 1.5), -1 with
 * `stack_error` and the reason. A stack does the same with what its runner returns.
 *
 * @since 0.2.0
 * @category constructors
 */
export const sendable: (outcome: unknown) => JobOutcome = sendableOutcome

/**
 * Makes a runner from a function.
 *
 * **Details**
 *
 * Each run has its own scope: resources that the function acquires with `acquireRelease` are released when this run ends. A finalizer
 * that fails is logged, and does not change the outcome.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E>(
  run: (context: JobContext) => Effect.Effect<JobOutcome, E, Scope.Scope>,
  options: Options = {}
): Service => ({
  outlivesStack: options.outlivesStack ?? false,
  run: (context) =>
    Effect.mapError(
      inOwnScope(
        context.job.id,
        Effect.suspend(() => run(context))
      ),
      (error) =>
        error instanceof JobRunnerError
          ? error
          : new JobRunnerError({ message: messageOf(error), isRetryable: isRetryable(error), cause: error })
    )
})

/** Whether an error has `isRetryable: true`. */
const isRetryable = (error: unknown): boolean =>
  Predicate.hasProperty(error, "isRetryable") && error.isRetryable === true

const inOwnScope = <A, E, R>(
  jobUuid: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.uninterruptibleMask((restore) => {
    const scope = Scope.makeUnsafe()
    return Effect.flatMap(Effect.exit(restore(Scope.provide(effect, scope))), (exit) =>
      Scope.close(scope, exit).pipe(
        Effect.catchCause((cause) => Effect.logWarning(`The runner of job ${jobUuid} could not clean up`, cause)),
        Effect.andThen(exit)
      )
    )
  })

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Makes a runner from a function. See {@link make}.
 *
 * **Example** (A runner that rents a machine for each job)
 *
 * ```ts
 * import { JobRunner } from "@stacksapi/core"
 * import { Effect } from "effect"
 *
 * export const layer = JobRunner.layer(({ job }) =>
 *   Effect.gen(function* () {
 *     yield* Effect.acquireRelease(Effect.log(`machine for ${job.id} on`), () => Effect.log(`machine for ${job.id} off`))
 *     return JobRunner.Finished({ exitStatus: 0, detail: "done" })
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E, R>(
  run: (context: JobContext) => Effect.Effect<JobOutcome, E, R>,
  options: Options = {}
): Layer.Layer<JobRunner, never, Exclude<R, Scope.Scope>> =>
  Layer.effect(
    JobRunner,
    Effect.contextWith((context: Context.Context<Exclude<R, Scope.Scope>>) =>
      Effect.succeed(
        make<E>(
          (job) =>
            Effect.updateContext(
              run(job),
              (own: Context.Context<Scope.Scope>) => Context.merge(context, own) as Context.Context<R>
            ),
          options
        )
      )
    )
  )
