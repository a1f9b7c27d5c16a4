/**
 * The runtime of a stack: it takes scheduled jobs from a queue and hands each to a {@link JobRunner.JobRunner}, with as many at
 * a time as there are slots, until it is told to stop.
 *
 * **Details**
 *
 * Watch the queue, leave out what may not start (pause, `runnableAt`, tags), take the most urgent jobs (highest priority, then
 * oldest), reserve no more of them than there are free slots, run them, finish them. Reservations are renewed while their jobs
 * are here. A job whose state is `canceled` or `canceling` has its runner interrupted. A stack that the service has forgotten
 * registers again. Whatever is retryable is survived; 401 and 403 end the run.
 *
 * A poll reads two pages of 1000 jobs, and more only while slots are free for which no job is known: what is urgent but far
 * behind in a long queue comes up when it is read. Answers that are lost leave it open whether a job is reserved: it keeps its
 * slot, and is asked for again, until that is known.
 *
 * **Metrics**
 *
 * All but the gauges are there from the start, at 0.
 *
 * - `stacksapi_jobs` by `outcome`: the name of the event with which a job's time ended.
 * - `stacksapi_jobs_reserved`, `stacksapi_jobs_started`, and `stacksapi_schedule_to_start_seconds`, a histogram.
 * - `stacksapi_jobs_in_flight`, `stacksapi_slots_available`, `stacksapi_jobs_pending`: gauges. Of stacks that share a pool the
 *   first and the last have the `queue`, and the slots are the pool's.
 * - `stacksapi_polls`, `stacksapi_request_failures`, `stacksapi_registrations`.
 * - `stacksapi_requests` and `stacksapi_retries` by `operation`; `stacksapi_rate_limit_waits` too, from the first wait on.
 * - `stacksapi_notifications` by `outcome`, from the first one on.
 *
 * **Spans**
 *
 * Where a tracer is installed each job has a trace of its own, `Stack.job`, from its slot to its end, with what its runner does
 * and what is asked for it; it is linked to `Stack.reserve`, the request that reserved it.
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
import type { JobRunner } from "./JobRunner.ts"
import type { JobStoreError } from "./JobStore.ts"
import type { SlotPool } from "./SlotPool.ts"
import type { StackEvent } from "./StackEvent.ts"
import type { StacksClient } from "./StacksClient.ts"
import type { CursorStalled, InvalidOptions, StacksError } from "./StacksError.ts"
import type { ScheduledJob, StackType } from "./StacksSchema.ts"

/**
 * Why a stack can't start: the service refuses it, an option can't be right, or the job store can't be read.
 *
 * @since 0.2.0
 * @category errors
 */
export type StartError = StacksError | InvalidOptions | JobStoreError

/**
 * How a stack is set up.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The stack's key: 1 to 80 letters, digits, `_` and `-`. Two processes with one key would run jobs twice. */
  readonly key: string
  /** The queue whose jobs it takes. */
  readonly queueKey: string
  /** Default `custom`. */
  readonly type?: StackType | undefined
  /** What the stack says about itself. Default nothing. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** What its agents are tagged with: only jobs whose rules these meet are taken. Default: all jobs of the queue. */
  readonly tags?: AgentQueryRules.Tags | undefined
  /** How many jobs may be here at once. Default 25, or with a `pool` as many as that has slots. */
  readonly maxInFlight?: number | undefined
  /** Slots that it shares with other stacks of the process. Default none: its slots are its own. */
  readonly pool?: SlotPool | undefined
  /** Its share of the pool, compared to the other stacks'. Default 1. */
  readonly weight?: number | undefined
  /** How often the queue is read. Default and minimum 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /** How often the states of running jobs are read. Default 5 seconds, minimum 1 second. */
  readonly stateInterval?: Duration.Input | undefined
  /**
   * How long a reservation lasts without renewal, from 1 second to 1 hour. Default 15 minutes. The stack renews it every quarter
   * of that, so the service may be away for three quarters of it before a job here can be given to somebody else.
   */
  readonly reservationExpiry?: Duration.Input | undefined
  /**
   * How long trouble of this host may delay a job's start before the job is given back to the queue: how long the runner may fail
   * with `isRetryable: true`. Default 5 minutes. Trouble of the service has no limit.
   */
  readonly startTimeout?: Duration.Input | undefined
  /** How long the service may answer 401 or 403 to one operation before the stack fails. Default 5 minutes. */
  readonly authGrace?: Duration.Input | undefined
  /**
   * How long the agent of a job that is canceled or timed out may take to end the job by itself, before its runner is interrupted.
   * Default 30 seconds.
   */
  readonly cancelGrace?: Duration.Input | undefined
  /** How long running jobs may take to end when the stack drains, before their runners are interrupted. Default 30 seconds. */
  readonly shutdownGrace?: Duration.Input | undefined
  /**
   * Called with every event, from the first on, one after the other. The stack waits for it only when it ends, for at most
   * 5 seconds.
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
 * How a stack is doing.
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
  /** When the latest look at the queue ended that did not fail; undefined before the first one. */
  readonly lastPolledAt: DateTime.Utc | undefined
  readonly maxInFlight: number
  /** The jobs that hold a slot. */
  readonly inFlight: ReadonlyArray<ScheduledJob>
  /** How many listed jobs may start and wait for a slot, as far as the last poll saw them. */
  readonly pending: number
  /** How many jobs are reserved, have no slot, and wait to be started. No new jobs are reserved in their place. */
  readonly backingOff: number
  /** How many jobs have ended here and wait until the service accepts their finish. */
  readonly finishing: number
  /** Whether starts of different jobs kept failing, so that the stack reserves nothing for now. */
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
  /** What happens, beginning with the last 16 events. A reader who falls 8192 events behind misses the oldest. */
  readonly events: Stream.Stream<StackEvent>
  /** Changes the number of slots. Fewer than are taken: nothing is stopped, and nothing new starts until enough are free. */
  readonly setMaxInFlight: (count: number) => Effect.Effect<void, InvalidOptions>
  /**
   * Takes no more jobs, lets those that run end within the grace, interrupts the rest, and returns. Jobs that were interrupted
   * are finished with -1 and `stack_error`.
   */
  readonly drain: Effect.Effect<void>
  /** Succeeds when the queue is empty and all is done. */
  readonly awaitIdle: Effect.Effect<void>
  /** Fails when the stack can't go on, as with a token that is revoked; its message says what to do. */
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
 * Registers a stack and starts it in the background. When the scope closes it drains, flushes its notifications and
 * deregisters: within `shutdownGrace` and 25 seconds, also when the service is down.
 *
 * **Details**
 *
 * Requests are held to the documented rate limits in memory, unless a `RateLimit` is in the context or the client was made with
 * one. Jobs are saved in the `JobStore` in the context. Fails with `InvalidOptions` where an option can't be right, and with the
 * service's answer where the stack can't be registered for a reason that does not pass by itself.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (options: Options) => Effect.Effect<Service, StartError, StacksClient | JobRunner | Scope.Scope> =
  Runtime.make

/**
 * Runs a stack until it is interrupted, and then lets it end in order; fails when it can't go on.
 *
 * **Details**
 *
 * An interruption drains first: see `shutdownGrace`. 401 (the token) and 403 (the organization's limit of stacks) are fatal.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (options: Options): Effect.Effect<never, StartError | CursorStalled, StacksClient | JobRunner> =>
  Effect.scoped(Effect.flatMap(make(options), (stack) => stack.awaitFailure))

/**
 * Runs a stack until the queue is empty and all is done. Jobs that its tags leave out don't count; paused jobs and those that
 * may not start yet do.
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
