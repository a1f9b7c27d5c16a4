/**
 * A stack: takes scheduled jobs from a queue and runs each with the {@link JobRunner.JobRunner JobRunner}, as many at a time as
 * there are slots.
 *
 * **When to use**
 *
 * - {@link run} for a program that only runs a stack, {@link runUntilIdle} for one that ends when the queue is empty.
 * - {@link make} or {@link layer} to read the stack's status and events, or to change its slots.
 * - `Stacks.run` for several queues in one process.
 *
 * **Details**
 *
 * The stack polls the queue and leaves out jobs that must not start (paused queue, `runnableAt`, tags). It reserves jobs by
 * priority, then by age, and no more of them than there are free slots. It runs them, renews their reservations, and finishes them.
 *
 * A poll reads two pages of 1000 jobs. It reads more pages only while the stack has more free slots than pending jobs.
 *
 * - A failure of the service is never a job's fault. The stack retries without a time limit, and registers again after a 404. It
 *   ends only if one operation gets 401 or 403 for `authGrace`.
 * - If the runner fails with a failure of `details` or `acquisitionToken`, the job starts again later. The same applies to a
 *   `JobRunnerError` with `isRetryable: true`, for at most `startTimeout`. Every other failure of the runner finishes the job with
 *   -1 and `stack_error`.
 * - If starts of ten different jobs fail (with fewer than five slots: one more than twice the slots), the stack reserves nothing for
 *   a while, then tries one job.
 * - If one job makes requests for many jobs fail, the stack divides the request until that job is alone.
 * - If a response leaves open whether a job is reserved, the stack asks again until it knows.
 * - A finish is retried until the service accepts it.
 * - The stack tells the runner of a canceled job by `stopRequested`. It interrupts the runner after `cancelGrace`, or at once if no
 *   agent has the job.
 * - With a `JobStore` the next process continues with the jobs after a restart or a crash.
 *
 * Waits and deadlines use the monotonic clock.
 *
 * **Metrics**
 *
 * A stack has counters and gauges of its jobs, slots, polls and requests, whose names begin with `stacksapi_`. Counters exist from
 * the start with the value 0. If stacks share a pool, each stack's gauges have the label `queue`. The gauge of free slots has no label,
 * because it counts the pool's.
 *
 * **Spans**
 *
 * If a tracer is installed, each job has its own trace, `Stack.job`, from its start to its end, with the spans of its runner. It is
 * linked to `Stack.reserve`, the request that reserved the job.
 *
 * **Example** (A stack that reports every job as passed)
 *
 * ```ts
 * import { JobRunner, Stack } from "@stacksapi/core"
 * import { Effect } from "effect"
 *
 * export const program = Stack.run({ key: "my-stack", queueKey: "_default", maxInFlight: 10 }).pipe(
 *   Effect.provide(
 *     JobRunner.layer(({ job }) =>
 *       Effect.as(Effect.log(`running ${job.id}`), JobRunner.Finished({ exitStatus: 0, detail: "done" }))
 *     )
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as AgentQueryRules from "./AgentQueryRules.ts"

import * as Runtime from "./internal/stack/runtime.ts"
import * as TokenCheck from "./internal/stack/tokenCheck.ts"
import type { JobRunner } from "./JobRunner.ts"
import type { JobStoreError } from "./JobStore.ts"
import type { SlotPool } from "./SlotPool.ts"
import type { StackEvent } from "./StackEvent.ts"
import { StacksClient } from "./StacksClient.ts"
import type { InvalidOptions, StacksError } from "./StacksError.ts"
import type { JobDetails, ScheduledJob, StackType } from "./StacksSchema.ts"

/**
 * The failure of a stack that can't start: the service refuses its registration, an option is invalid, or the job store can't be
 * read.
 *
 * @since 0.2.0
 * @category errors
 */
export type StartError = StacksError | InvalidOptions | JobStoreError

/**
 * Settings of a stack. An invalid option fails with `InvalidOptions`, which names the option and its valid values.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The stack's key, which no other process may use. Must be 1 to 80 letters, digits, `_` and `-`. */
  readonly key: string
  /** The key of the queue whose jobs the stack takes. */
  readonly queueKey: string
  /** The type of the stack. Default `custom`. Must be `custom`, `kubernetes` or `elastic`. */
  readonly type?: StackType | undefined
  /** Metadata of the registration. Default: none. Must be at most 100 texts. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** The tags of the stack's agents. The stack takes only jobs whose agent query rules match these tags. Default: all jobs. Must be `key=value`, or `key` for `key=true`. */
  readonly tags?: AgentQueryRules.Tags | undefined
  /** The number of slots. Default 25, or the pool's. Must be a whole number of 0 or more. */
  readonly maxInFlight?: number | undefined
  /** Slots that the stack shares with other stacks of the process. Default: none. */
  readonly pool?: SlotPool | undefined
  /** The stack's share of the pool, relative to other stacks. Default 1. Must be a millionth to a million. */
  readonly weight?: number | undefined
  /**
   * Decides whether the stack takes a job, within 1 minute, before the job is reserved. Default: every job.
   *
   * Called by priority, for at most 16 jobs at a time, and only until the free slots are filled. A result holds while the job stays
   * listed. After `false`, a failure, a defect, or 1 minute without a result the stack reports `NotAdmitted`, and asks again after 1
   * minute. The delay doubles each time, up to 30 minutes. A call ends early, by interruption, when its job is no longer listed.
   */
  readonly admit?:
    | ((job: ScheduledJob, details: Effect.Effect<JobDetails, StacksError>) => Effect.Effect<boolean, StacksError>)
    | undefined
  /**
   * The amounts that a job takes while it holds a slot, by name. Default: none. Must be numbers of 0 or more.
   *
   * For example `{ cpus: 4, "pipeline:docs": 1 }`. The stack reserves jobs only if the `capacity` has room for them. The function
   * must be quick, and return the same amounts for the same job.
   */
  readonly requests?: ((job: ScheduledJob) => Readonly<Record<string, number>>) | undefined
  /**
   * The total of each amount that jobs may hold at the same time. Default: unlimited. Must be numbers of 0 or more.
   *
   * An amount that is not listed here is unlimited. A job that needs more than the whole capacity is never reserved, and reported as
   * `NotAdmitted`. With a `pool`, set the capacity of the pool instead.
   */
  readonly capacity?: Readonly<Record<string, number>> | undefined
  /**
   * How long smaller jobs may overtake a job that does not fit into the free capacity. After this time, the stack keeps freed amounts
   * for the larger job. Default 60 seconds.
   */
  readonly agingTime?: Duration.Input | undefined
  /** How often the queue is polled. Default 1 second. Must be at least 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /** How often the states of the stack's jobs are read. Default 5 seconds. Must be at least 1 second. */
  readonly stateInterval?: Duration.Input | undefined
  /**
   * How long a reservation lasts without renewal. Default 15 minutes. Must be between 1 second and 1 hour.
   *
   * The stack renews reservations every quarter of that, so the service may be down for three quarters of it before another stack
   * can get a job.
   */
  readonly reservationExpiry?: Duration.Input | undefined
  /**
   * How long host trouble may delay a job's start before the job is released. Default 5 minutes.
   *
   * Host trouble is a runner that fails with `isRetryable: true`. Failures of the service have no time limit.
   */
  readonly startTimeout?: Duration.Input | undefined
  /** How long the service may respond with 401 or 403 to the same operation before the stack fails. Default 5 minutes. */
  readonly authGrace?: Duration.Input | undefined
  /**
   * The time that the agent of a canceled or timed-out job has to end the job. After it, the stack interrupts the runner. If no agent
   * has the job, the stack interrupts the runner at once. Default 30 seconds.
   */
  readonly cancelGrace?: Duration.Input | undefined
  /** How long running jobs may take to end when the stack drains, before their runners are interrupted. Default 30 seconds. */
  readonly shutdownGrace?: Duration.Input | undefined
  /**
   * Called with every event, one after the other. Default: nothing.
   *
   * The stack does not wait for it, except for at most 5 seconds when the stack ends.
   */
  readonly onEvent?: ((event: StackEvent) => Effect.Effect<void>) | undefined
  /**
   * What the stack does with its jobs when its scope closes. Default `drain`, or `detach` if the runner declares `outlivesStack`.
   *
   * - `drain`: see {@link Service.drain}.
   * - `detach`: the stack stops at once. Jobs, reservations and registration stay for the next process with the same `JobStore`.
   *   Runners are interrupted. Only jobs whose runners return `Finished` within 5 seconds are finished.
   */
  readonly onClose?: "drain" | "detach" | undefined
}

/**
 * A snapshot of a stack.
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  /** The stack's key. */
  readonly key: string
  /** The queue whose jobs the stack takes. */
  readonly queueKey: string
  /** Whether the stack takes jobs, drains or has ended. */
  readonly phase: "running" | "draining" | "stopped"
  /** Whether the queue's dispatch is paused. */
  readonly isPaused: boolean
  /** When the latest successful poll ended; undefined before the first one. */
  readonly lastPolledAt: DateTime.Utc | undefined
  /** How long ago that was, by the monotonic clock; undefined before the first poll. */
  readonly sincePolled: Duration.Duration | undefined
  /** The number of slots that the stack may use. */
  readonly maxInFlight: number
  /** The jobs that have started and hold a slot. */
  readonly inFlight: ReadonlyArray<ScheduledJob>
  /** How many listed jobs may start and wait for a slot, as of the last poll. */
  readonly pending: number
  /** How many reserved jobs wait for their start, whether or not a start has failed. A slot is kept for most of them. */
  readonly backingOff: number
  /**
   * How many jobs are in doubt: the service may have reserved them, or their runner returned `AgentOwned` and their state can't be read.
   * The stack asks again.
   */
  readonly inDoubt: number
  /** How many jobs have ended and wait until the service accepts their finish. */
  readonly finishing: number
  /** The amounts that the stack's jobs hold, by name. */
  readonly amounts: Readonly<Record<string, number>>
  /** Whether starts are suspended, because starts of different jobs kept failing. */
  readonly startsSuspended: boolean
  /** Why the runner can take no job now, for example because its agents' host does not respond; undefined if it can. */
  readonly runnerUnavailable: string | undefined
}

/**
 * A stack that runs in the background.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** A snapshot of the stack. */
  readonly status: Effect.Effect<Status>
  /** The events, starting with the last 16. A reader that is 8192 events behind misses the oldest ones. */
  readonly events: Stream.Stream<StackEvent>
  /** Changes the number of slots. No running job is stopped; if more slots are in use than remain, no job starts until enough are free. */
  readonly setMaxInFlight: (count: number) => Effect.Effect<void, InvalidOptions>
  /**
   * Takes no more jobs, releases those that have not started, and waits for running jobs for `shutdownGrace`. Then it interrupts the
   * remaining jobs and finishes them with -1 and `stack_error`, unless an agent has them.
   */
  readonly drain: Effect.Effect<void>
  /** Succeeds when the stack has no jobs, and the queue lists none that it would take. */
  readonly awaitIdle: Effect.Effect<void>
  /** Fails when the stack can't continue, for example because the token was revoked. The message says what to do. */
  readonly awaitFailure: Effect.Effect<never, StacksError>
}

/**
 * A stack that runs in the background.
 *
 * @since 0.1.0
 * @category services
 */
export class Stack extends Context.Service<Stack, Service>()("@stacksapi/core/Stack") {}

/**
 * Registers a stack and starts it in the background. When the scope closes, the stack drains, sends its last notifications and
 * deregisters, within `shutdownGrace` plus 25 seconds, even if the service is down. With `onClose: "detach"` it stops at once.
 *
 * **Details**
 *
 * An in-memory limiter keeps requests within the documented rate limits, unless a `RateLimit` is in the context or the client was made
 * with one. Jobs are saved in the `JobStore` in the context. Fails with `InvalidOptions` if an option is invalid, and with the service's
 * response if the registration is refused (400, 401, 403, 404, 422). Waits while the service is down.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (options: Options) => Effect.Effect<Service, StartError, StacksClient | JobRunner | Scope.Scope> =
  Runtime.make

/**
 * Runs a stack until it is interrupted, and then drains or detaches it. Fails when the stack can't continue.
 *
 * **Details**
 *
 * 401 (invalid token) and 403 (too many stacks) end a stack: at once during registration, and otherwise after `authGrace`.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (options: Options): Effect.Effect<never, StartError, StacksClient | JobRunner> =>
  Effect.scoped(Effect.flatMap(make(options), (stack) => stack.awaitFailure))

/**
 * Checks that the client's token belongs to a cluster, because stacks work only in clusters. If it does not, fails with
 * `InvalidOptions` for the option `token`. If the service does not respond within 2 seconds, logs a warning and succeeds. A stack does
 * this when it starts.
 *
 * @since 0.2.0
 * @category accessors
 */
export const checkToken: Effect.Effect<void, InvalidOptions, StacksClient> = Effect.flatMap(
  StacksClient,
  TokenCheck.checkToken
)

/**
 * Runs a stack until it has no jobs, and the queue lists none that the stack would take.
 *
 * **Details**
 *
 * Jobs of a paused queue, and jobs before their `runnableAt`, keep the stack running. Jobs with other tags, jobs that `admit` refuses,
 * and jobs with unusable ids do not.
 *
 * @since 0.1.0
 * @category running
 */
export const runUntilIdle = (options: Options): Effect.Effect<void, StartError, StacksClient | JobRunner> =>
  Effect.scoped(Effect.flatMap(make(options), (stack) => Effect.raceFirst(stack.awaitIdle, stack.awaitFailure)))

/**
 * Runs a stack for the lifetime of the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Stack, StartError, StacksClient | JobRunner> =>
  Layer.effect(Stack, make(options))
