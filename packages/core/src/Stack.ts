/**
 * The runtime of a stack: takes scheduled jobs from a queue and runs each by a {@link JobRunner.JobRunner}, as many at a time as
 * there are slots.
 *
 * **When to use**
 *
 * - {@link run} for a program that is nothing but a stack, {@link runUntilIdle} for one that ends when the queue is empty.
 * - {@link make} or {@link layer} to read the stack's status, events and metrics, or to change its slots.
 * - `Stacks.run` for several queues in one process.
 *
 * **Details**
 *
 * The stack polls the queue, leaves out jobs that must not start (paused queue, `runnableAt`, tags), takes the most urgent jobs
 * (highest priority, then oldest), reserves no more of them than there are free slots, runs them, and finishes them. It renews
 * their reservations meanwhile.
 *
 * A poll reads two pages of 1000 jobs, and more only while slots are free for which no job is known.
 *
 * - Trouble with the service is never a job's fault. The stack retries without a time limit, and registers again after a 404. It
 *   ends only when one operation is answered 401 or 403 for `authGrace`.
 * - A failure of `details` or `acquisitionToken` restarts the job later, and so does a `JobRunnerError` with `isRetryable: true`,
 *   for at most `startTimeout`. Every other failure of the runner finishes the job with -1 and `stack_error`.
 * - If starts of ten different jobs fail, the stack reserves nothing for a while, then tries one job.
 * - If one job makes the requests for many jobs fail, the stack divides the request until that job is alone.
 * - A job that no response says is reserved or not is asked for again until that is known.
 * - A finish is retried until the service accepts it.
 * - A runner whose job is canceled is told by `stopRequested`. It is interrupted after `cancelGrace` if an agent has the job.
 * - With a `JobStore` the next process goes on with the jobs after a restart or a crash.
 *
 * Waits and deadlines use the monotonic clock.
 *
 * **Metrics**
 *
 * Counters exist from the start, at 0, unless noted. Gauges of stacks that share a pool have the label `queue`, except for the
 * slots, which are the pool's.
 *
 * - `stacksapi_jobs` by `outcome`: the name of the event. A job's end: `Finished`, `AgentOwned`, `Failed`, `Canceled`,
 *   `ReservationLost`, `Released`. In between: `BackedOff`, `FinishRejected`. Not reserved: `NotReserved`, `InDoubt`, `JobIgnored`.
 * - `stacksapi_jobs_reserved`, `stacksapi_jobs_started`, and `stacksapi_schedule_to_start_seconds`, a histogram.
 * - `stacksapi_jobs_in_flight`, `stacksapi_slots_available`, `stacksapi_jobs_pending`: gauges.
 * - `stacksapi_jobs_finishing`: a gauge, jobs that have ended and wait until the service accepts their finish.
 * - `stacksapi_starts_suspended`: a gauge, 1 while starts are suspended.
 * - `stacksapi_polls`, `stacksapi_request_failures`, `stacksapi_registrations`.
 * - `stacksapi_requests` and `stacksapi_retries` by `operation`; `stacksapi_rate_limit_waits` too, from the first wait on.
 * - `stacksapi_notifications` by `outcome`, from the first one on.
 *
 * **Spans**
 *
 * Spans are made only where a tracer is installed. Each job has its own trace, `Stack.job`, from its start to its end, with what
 * its runner does. It is linked to `Stack.reserve`, the request that reserved the job.
 *
 * **Example** (A stack that runs everything at once and succeeds)
 *
 * ```ts
 * import { JobRunner, Stack } from "@stacksapi/core"
 * import { Effect } from "effect"
 *
 * export const program = Stack.run({ key: "my-stack", queueKey: "default", maxInFlight: 10 }).pipe(
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
import type { CursorStalled, InvalidOptions, StacksError } from "./StacksError.ts"
import type { JobDetails, ScheduledJob, StackType } from "./StacksSchema.ts"

/**
 * A stack can't start: the service refuses its registration, an option can't be right, or the job store can't be read.
 *
 * @since 0.2.0
 * @category errors
 */
export type StartError = StacksError | InvalidOptions | JobStoreError

/**
 * Settings of a stack. An option that can't be right fails with `InvalidOptions`, which names it and its valid range.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The stack's key: 1 to 80 letters, digits, `_` and `-`. Two processes with the same key would run jobs twice. */
  readonly key: string
  /** The key of the queue whose jobs the stack takes. */
  readonly queueKey: string
  /** Default `custom`. */
  readonly type?: StackType | undefined
  /** Metadata of the registration. Default none. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** The tags of the stack's agents. The stack takes only jobs whose rules these meet. Default: all jobs of the queue. */
  readonly tags?: AgentQueryRules.Tags | undefined
  /** The number of slots, a whole number from 0. Default 25, or with a `pool` as many as the pool has. */
  readonly maxInFlight?: number | undefined
  /** Slots that the stack shares with other stacks of the process. Default none. */
  readonly pool?: SlotPool | undefined
  /** The stack's share of the pool, compared to other stacks, from a millionth to a million. Default 1. */
  readonly weight?: number | undefined
  /**
   * Decides whether the stack takes a job, before it is reserved: by its pipeline, its build, or its `details`. Default: every job.
   *
   * Called in the order of priority, for at most 16 jobs at a time, and only until the free slots are filled. A verdict holds while
   * the job stays listed. After `false`, a failure or a defect the stack reports `NotAdmitted`, and asks again after 1 minute, twice
   * as long each further time, at most 30 minutes.
   */
  readonly admit?:
    | ((job: ScheduledJob, details: Effect.Effect<JobDetails, StacksError>) => Effect.Effect<boolean, StacksError>)
    | undefined
  /**
   * The amounts that a job takes while it holds a slot, by name, for example `{ cpus: 4, "pipeline:docs": 1 }`. The stack reserves
   * jobs only as far as the `capacity` has room for them. Must be quick and give the same for the same job. Default none.
   */
  readonly requests?: ((job: ScheduledJob) => Readonly<Record<string, number>>) | undefined
  /**
   * How much there is of each amount of `requests`. An amount that is not named here is unlimited. A job that needs more than there
   * is in all is never reserved, and reported as `NotAdmitted`. With a `pool`, set the pool's. Default none.
   */
  readonly capacity?: Readonly<Record<string, number>> | undefined
  /**
   * How long smaller jobs may overtake a job for whose amounts there is no room. From then on, freed amounts are kept for it.
   * Default 60 seconds.
   */
  readonly agingTime?: Duration.Input | undefined
  /** How often the queue is polled. Default and minimum 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /** How often the states of the stack's jobs are read. Default 5 seconds, minimum 1 second. */
  readonly stateInterval?: Duration.Input | undefined
  /**
   * How long a reservation lasts without renewal, from 1 second to 1 hour. Default 15 minutes. The stack renews reservations every
   * quarter of that, so the service may be away for three quarters of it before a job can be given to another stack.
   */
  readonly reservationExpiry?: Duration.Input | undefined
  /**
   * How long host trouble may delay a job's start: how long its runner may fail with `isRetryable: true` before the job is given
   * back to the queue. Default 5 minutes. Trouble with the service has no limit.
   */
  readonly startTimeout?: Duration.Input | undefined
  /** How long the service may answer 401 or 403 to the same operation before the stack fails. Default 5 minutes. */
  readonly authGrace?: Duration.Input | undefined
  /**
   * How long the agent of a job that is canceled or timed out may take to end the job by itself before the runner is interrupted.
   * Default 30 seconds. If no agent has the job, the runner is interrupted at once.
   */
  readonly cancelGrace?: Duration.Input | undefined
  /** How long running jobs may take to end when the stack drains before their runners are interrupted. Default 30 seconds. */
  readonly shutdownGrace?: Duration.Input | undefined
  /**
   * Called with every event, one after the other. The stack does not wait for it, except for at most 5 seconds when the stack ends.
   */
  readonly onEvent?: ((event: StackEvent) => Effect.Effect<void>) | undefined
  /**
   * What the stack does with its jobs when its scope closes:
   * - `drain`: see {@link Service.drain}. The default.
   * - `detach`: the stack stops at once. Jobs, reservations and registration stay as they are for the next process with the same
   *   `JobStore`. Runners are interrupted, and nothing is finished. The default where the `JobRunner` says `outlivesStack`.
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
  /** The queue whose jobs it takes. */
  readonly queueKey: string
  readonly phase: "running" | "draining" | "stopped"
  /** Whether the queue's dispatch is paused. */
  readonly isPaused: boolean
  /** When the latest successful poll ended; undefined before the first one. */
  readonly lastPolledAt: DateTime.Utc | undefined
  /** How long ago that was, whatever the wall clock did since; undefined before the first one. */
  readonly sincePolled: Duration.Duration | undefined
  readonly maxInFlight: number
  /** The jobs that have started and hold a slot. */
  readonly inFlight: ReadonlyArray<ScheduledJob>
  /** How many listed jobs may start and wait for a slot, as far as the last poll saw them. */
  readonly pending: number
  /** How many reserved jobs wait to be started. No new jobs are reserved in their place. */
  readonly backingOff: number
  /** How many jobs the stack may have, and does not know whether it has: it has no answer about them, and asks again. */
  readonly inDoubt: number
  /** How many jobs have ended and wait until the service accepts their finish. */
  readonly finishing: number
  /** The amounts that the stack's jobs hold, by name. */
  readonly amounts: Readonly<Record<string, number>>
  /** Whether starts are suspended, because starts of different jobs kept failing. */
  readonly startsSuspended: boolean
}

/**
 * A stack that runs in the background.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly status: Effect.Effect<Status>
  /** The events, beginning with the last 16. A reader who falls 8192 events behind misses the oldest. */
  readonly events: Stream.Stream<StackEvent>
  /** Changes the number of slots. If fewer remain than are taken, no job is stopped, and none starts until enough are free. */
  readonly setMaxInFlight: (count: number) => Effect.Effect<void, InvalidOptions>
  /**
   * Takes no more jobs, gives back those that have not started, lets running jobs end within `shutdownGrace`, and interrupts the
   * rest. Jobs that were interrupted are finished with -1 and `stack_error`, unless an agent has them.
   */
  readonly drain: Effect.Effect<void>
  /** Succeeds when the queue is empty and the stack has no jobs. */
  readonly awaitIdle: Effect.Effect<void>
  /** Fails when the stack can't go on, for example because the token was revoked. The message says what to do. */
  readonly awaitFailure: Effect.Effect<never, StacksError | CursorStalled>
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
 * deregisters, within `shutdownGrace` and 25 seconds, also when the service is down. With `onClose: "detach"` it stops at once.
 *
 * **Details**
 *
 * Requests keep to the documented rate limits in memory, unless a `RateLimit` is in the context or the client was made with one.
 * Jobs are saved in the `JobStore` in the context. Fails with `InvalidOptions` if an option can't be right, and with the service's
 * response if the registration is refused: at once with 400 or 422, and after `authGrace` with 401, 403 or 404. While the service is
 * in trouble it waits.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (options: Options) => Effect.Effect<Service, StartError, StacksClient | JobRunner | Scope.Scope> =
  Runtime.make

/**
 * Runs a stack until it is interrupted, and then drains or detaches it. Fails when the stack can't go on.
 *
 * **Details**
 *
 * 401 (the token) and 403 (the organization's limit of stacks) end a stack after `authGrace`.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (options: Options): Effect.Effect<never, StartError | CursorStalled, StacksClient | JobRunner> =>
  Effect.scoped(Effect.flatMap(make(options), (stack) => stack.awaitFailure))

/**
 * Checks that the client's token belongs to a cluster: stacks work in clusters only. Fails with `InvalidOptions`, option `token`, if it
 * belongs to none. A service that does not tell within 2 seconds is no failure, and is logged. A stack does this when it starts.
 *
 * @since 0.2.0
 * @category accessors
 */
export const checkToken: Effect.Effect<void, InvalidOptions, StacksClient> = Effect.flatMap(
  StacksClient,
  TokenCheck.checkToken
)

/**
 * Runs a stack until the queue is empty and the stack has no jobs. Jobs that its tags leave out don't count; jobs of a paused
 * queue and jobs that must not start yet do.
 *
 * @since 0.1.0
 * @category running
 */
export const runUntilIdle = (
  options: Options
): Effect.Effect<void, StartError | CursorStalled, StacksClient | JobRunner> =>
  Effect.scoped(Effect.flatMap(make(options), (stack) => Effect.raceFirst(stack.awaitIdle, stack.awaitFailure)))

/**
 * A stack that runs as long as the layer is in use.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Stack, StartError, StacksClient | JobRunner> =>
  Layer.effect(Stack, make(options))
