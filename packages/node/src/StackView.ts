/**
 * Shows what a stack does, on a terminal, as lines, or as JSON.
 *
 * **Details**
 *
 * - `live`, for a terminal: a screen that is redrawn in place, with the queue, the slots, the running jobs with their age and last line
 *   of output, outcomes, requests and what is left of the rate limits, problems and log lines. It adapts to the size of the terminal.
 *   When it ends, in any way but SIGKILL, the terminal is restored, and shows the last 100 log lines and a summary.
 * - `lines`, for pipes: one line per event, for people. A poll with the same result as the previous one is left out.
 * - `json`: one JSON object per event, and a summary at the end.
 *
 * Each object has `event`, the event's name, and `time`, in ISO 8601. The other fields are those of the event: `stackKey`, `queueKey`,
 * `listed`, `startable`, `inFlight`, `exitStatus`, `state` (or null), `detail`, `message`, `reason`; durations as `sinceScheduledMillis`
 * and `delayMillis`; `job` with `id`, `priority`, `agentQueryRules`, `scheduledAt`, `runnableAt` (or null), `pipeline`, `build` and
 * `step`; `error` with `_tag`, `message`, `operation`, `method`, `url`, `isRetryable`, and if it has them `status`, `reason`,
 * `retryAfterMillis`, `kind`, `mayHaveBeenProcessed`. The last object is the event `Summary`: `durationMillis`, `jobs`,
 * `jobsPerSecond`, `outcomes` (counts by name), `scheduleToStartMillis` (`p50` and `p99`, within 2 %, or null), `requests` (`sent`,
 * `retried`, `waited` for a rate limit) and `problems` (counts by kind).
 *
 * For the stacks of several queues, and for a process of a cluster, each event has its `queueKey`. A process of a cluster adds `RunStarted`
 * (like `Started`) and `RunEnded` (`outcome`, and if it has them `exitStatus` and `detail`) for the jobs that it runs itself.
 * With `printOutput`, `Output` is a line that a job printed: `jobUuid`, `channel` (`stdout` or `stderr`) and `text`.
 *
 * With `json`, what a view prints on the standard error is JSON too: `time`, `level`, `message`, and of log entries `annotations` and
 * `cause`.
 *
 * Colors follow `NO_COLOR`, `FORCE_COLOR` and the terminal, by Effect's `TerminalCapabilities`. Color is never the only sign of a
 * meaning. Control characters and ANSI sequences in jobs' names and output never reach the terminal; in JSON they are escaped.
 *
 * **Gotchas**
 *
 * Requests are read from the metrics of the process, which count the requests of all its stacks together. What is left of a rate limit is
 * the smaller of what the service last reported, and the limit less the requests of this process in the last second.
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
 *     const stack = yield* Stack.make({ key: "my-stack", queueKey: "_default", onEvent: view.onEvent })
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
import * as Effect from "effect/Effect"
import type * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import type * as Stdio from "effect/Stdio"
import type * as Terminal from "effect/Terminal"
import type * as ClusterStack from "./ClusterStack.ts"
import type * as JobOutput from "./JobOutput.ts"

const implementation = Effect.promise(() => import("./internal/view/view.ts"))

/**
 * The format of a view. `auto` is `live` if the standard output is a terminal that supports it (`TERM` is not `dumb`) and `CI` is not
 * set, else `lines`.
 *
 * @since 0.1.0
 * @category models
 */
export type Format = "auto" | "live" | "lines" | "json"

/**
 * The options of a view.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** Default `auto`. */
  readonly format?: Format | undefined
  /** The output of jobs, for the last lines of running jobs. Default: none are shown. */
  readonly output?: JobOutput.Service | undefined
  /** With the formats `lines` and `json`: whether to print each line of `output` too, as the event `Output` in JSON. Default false. */
  readonly printOutput?: boolean | undefined
  /**
   * The label of a job, or undefined if it is not known. It is shown for a job whose step has no key. Default: such a job is shown by its
   * pipeline and build alone.
   */
  readonly labelOf?: ((jobUuid: string) => string | undefined) | undefined
  /** Whether to print a summary at the end, if the stack has begun its work. Default true. */
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
 * A running view.
 *
 * @since 0.1.0
 * @category models
 */
export interface View {
  /** The format in use. */
  readonly format: Exclude<Format, "auto">
  /** Shows an event. Pass it as `onEvent` of a stack, or of the stacks of several queues. */
  readonly onEvent: (event: StackEvent, queueKey?: string) => Effect.Effect<void>
  /** Shows an event. Pass it as `onEvent` of a process of a cluster. It counts the jobs that this process runs. */
  readonly onClusterEvent: (event: ClusterStack.ClusterEvent, queueKey: string) => Effect.Effect<void>
  /** Shows the slots of a stack, and the jobs that wait for them, until the view ends. For several stacks it shows the sums. */
  readonly watch: (stack: Watched) => Effect.Effect<void>
  /** Prints a text for people: in the live view, else on the standard error. */
  readonly print: (text: string) => Effect.Effect<void>
  /**
   * Prints log lines like {@link View.print}. If the standard error is not a terminal (`2> file`), log lines always go there. The stack's
   * log lines about events are left out, because the view shows the events.
   */
  readonly logger: Logger.Logger<unknown, void>
}

/**
 * Starts a view, until the scope closes. Make the stack in an inner scope, so that the view shows its end too.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options?: Options
) => Effect.Effect<View, InvalidOptions, Scope.Scope | Stdio.Stdio | Terminal.Terminal> = (options) =>
  Effect.flatMap(implementation, ({ make }) => make(options))
