/**
 * Shows people, or programs, what a stack does while it does it.
 *
 * **Details**
 *
 * - `live`, for a terminal: one screen that is redrawn in place, with the queue, the slots, the running jobs with their age and
 *   last line of output, outcomes, requests and what is left of the rate limits, troubles and log lines. It fits any size, and
 *   follows when that changes. When it ends, by whatever way but SIGKILL, the terminal is as it was before, and a summary stands
 *   there, under the last 100 log lines.
 * - `lines`, for pipes: one line per event, for people. Polls that found what the one before had found are left out.
 * - `json`: one JSON object per event, and one at the end.
 *
 * Each object has `event`, the event's name, and `time`, in ISO 8601. The other fields are those of the event: `stackKey`,
 * `queueKey`, `listed`, `startable`, `inFlight`, `exitStatus`, `state` (or null), `detail`, `message`; durations as
 * `sinceScheduledMillis` and `delayMillis`; `job` with `id`, `priority`, `agentQueryRules`, `scheduledAt`, `runnableAt` (or
 * null), `pipeline`, `build` and `step`; `error` with `_tag`, `message`, `operation`, `method`, `url`, `isRetryable`, and where
 * it has them `status`, `reason`, `retryAfterMillis`, `kind`, `mayHaveBeenProcessed`. The last one is the event `Summary`:
 * `durationMillis`, `jobs`, `jobsPerSecond`, `outcomes` (counts by name), `scheduleToStartMillis` (`p50` and `p99`, within 2 %, or
 * null), `requests` (`sent`, `retried`, `waited` for a rate limit) and `troubles` (counts by kind).
 *
 * Of the stacks of several queues, and of a process of a cluster, each event has its `queueKey`. The process of a cluster adds
 * `Began` (like `Started`) and `Ended` (`outcome`, and where there are `exitStatus` and `detail`) of the jobs that it runs itself.
 *
 * Colors follow `NO_COLOR`, `FORCE_COLOR` and the terminal, by Effect's `TerminalCapabilities`; no meaning is in color alone.
 * Control characters and ANSI sequences of jobs' names and output never reach the terminal; in JSON they are escaped.
 *
 * **Gotchas**
 *
 * Requests are read from the metrics of the process, which count those of all its stacks together. What is left of a rate limit
 * is what the service last said, where that is less than the stack's own requests of the last second leave.
 *
 * **Example** (A stack that is watched)
 *
 * ```ts
 * import { Stack } from "@stacksapi/core"
 * import { CommandRunner, JobOutput, StackView } from "@stacksapi/node"
 * import { Effect, Logger } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const view = yield* StackView.make({ output: yield* JobOutput.JobOutput })
 *   return yield* Effect.gen(function* () {
 *     const stack = yield* Stack.make({ key: "my-stack", queueKey: "default", onEvent: view.onEvent })
 *     yield* view.watch(stack)
 *     return yield* stack.awaitFailure
 *   }).pipe(Effect.scoped, Effect.provide(Logger.layer([view.logger])))
 * }).pipe(Effect.scoped, Effect.provide(CommandRunner.layer()))
 * ```
 *
 * @since 0.1.0
 */
import type * as Stack from "@stacksapi/core/Stack"
import type { StackEvent } from "@stacksapi/core/StackEvent"
import type * as Stacks from "@stacksapi/core/Stacks"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import type * as Effect from "effect/Effect"
import type * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import type * as ClusterStack from "./ClusterStack.ts"
import * as internal from "./internal/view/view.ts"
import type * as JobOutput from "./JobOutput.ts"

/**
 * What a view can look like. `auto` is `live` where the standard output is a terminal that can do it (`TERM` is not `dumb`) and
 * `CI` is not set, else `lines`.
 *
 * @since 0.1.0
 * @category models
 */
export type Format = "auto" | "live" | "lines" | "json"

/**
 * How a view is set up.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Default `auto`. */
  readonly format?: Format | undefined
  /** Where the last lines of running jobs come from. Default: none are shown. */
  readonly output?: JobOutput.Service | undefined
  /** Whether a summary is left at the end. Default true. */
  readonly summary?: boolean | undefined
}

/**
 * What a view can show: a stack, the stacks of several queues, or a process of a cluster.
 *
 * @since 0.1.0
 * @category models
 */
export type Watched = Stack.Service | Stacks.Service | ClusterStack.Service

/**
 * A view of a stack.
 *
 * @since 0.1.0
 * @category models
 */
export interface View {
  /** What was chosen. */
  readonly format: Exclude<Format, "auto">
  /** For the `onEvent` of a stack, or of the stacks of several queues: tells the view what happens. */
  readonly onEvent: (event: StackEvent, queueKey?: string) => Effect.Effect<void>
  /** For the `onEvent` of a process of a cluster. The jobs that it counts are those that this process runs. */
  readonly onClusterEvent: (event: ClusterStack.ClusterEvent, queueKey: string) => Effect.Effect<void>
  /** Shows slots, and what waits for them, until the view's end. Of several stacks the sums are shown. */
  readonly watch: (stack: Watched) => Effect.Effect<void>
  /** Says something to people: within the view where it is live, else on the standard error. */
  readonly print: (text: string) => Effect.Effect<void>
  /**
   * Says what is logged as {@link View.print} does. Where the standard error is no terminal (`2> file`), log lines go there, also
   * while the view is live. What the stack logs of its events is left out: the view shows them.
   */
  readonly logger: Logger.Logger<unknown, void>
}

/**
 * Shows a stack until the scope closes. Make the stack in a scope within that one, so that its end is seen too.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options?: Options
) => Effect.Effect<View, InvalidOptions, Scope.Scope | Stdio.Stdio | Terminal.Terminal> = internal.make
