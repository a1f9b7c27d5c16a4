/**
 * Runs each job with its own `buildkite-agent`, which acquires the job, runs it, and exits.
 *
 * **When to use**
 *
 * Use it for jobs that need what the agent provides: checkouts, plugins, hooks, artifacts. To run commands in a shell without an agent, use
 * `CommandRunner`.
 *
 * **Details**
 *
 * An agent gets the job's id and acquisition token in its environment. It never gets the token of the stack, nor a secret on the command
 * line. Of this process's environment it gets only what programs need: `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, `LANG`, `LC_ALL`,
 * `LC_CTYPE`, `TZ`, `TMPDIR`, `SSL_CERT_FILE`, `SSL_CERT_DIR`, `NODE_EXTRA_CA_CERTS` and the variables of proxies. Put other
 * variables that an agent or its jobs need (`SSH_AUTH_SOCK`, `DOCKER_HOST`) into `env`. Agents of version 3 and of version 4 work.
 *
 * The outcome depends on the job's state when the agent has exited, and not only on the agent's exit status:
 *
 * | exit status | state of the job | outcome |
 * |---|---|---|
 * | 27: the service refused to let it register or acquire | reserved | the job is finished with -1 and `stack_error`, with the agent's last lines |
 * | 0: acquiring failed, but the service did not reject it: usually the job is locked, or the service has a problem | reserved, or waiting for a dependency or a concurrency limit | the runner fails with a retryable error |
 * | 28: the job is locked (most agents exit with 0 in this case) | reserved, or waiting for a dependency or a concurrency limit | the same |
 * | 1: it could not register, or its settings are wrong | reserved | the same |
 * | any other: it crashed, or is not an agent | reserved | the same |
 * | any | any other state | the job is left alone: an agent has acquired it |
 *
 * An agent that has acquired a job is never started again. With `reflectExitStatus`, the statuses 1, 27 and 28 may also be those of a job
 * that ran: the state tells them apart. If this host can't start an agent, for lack of file descriptors, processes, memory or disk space,
 * or because a program or folder is missing or being replaced, the runner fails with a retryable error too.
 *
 * An agent ends a canceled job by itself. The runner stops an agent that does not, and all agents when the stack shuts down:
 *
 * | after | the agent gets | and does |
 * |---|---|---|
 * | 0 s | SIGTERM | finishes its job, and exits |
 * | 1 s | SIGTERM | cancels its job, which has `cancelGracePeriod` to end |
 * | `cancelGracePeriod` + 10 s | SIGKILL, with all of its descendants | |
 *
 * SIGKILL comes after the agent's own forced exit: version 3 exits 1 second after `cancelGracePeriod`; version 4 needs up to 6 seconds,
 * to upload logs and artifacts. A stack that ends does not wait for this, but closing the layer does.
 *
 * If this process is killed, a small reaper process does the same: after `cancelGracePeriod` and 15 seconds, the processes of all jobs are
 * gone. Usually they are gone sooner. The agent's output pipe is closed, so an agent that writes another line exits without a report to the
 * service. The service ends the job of such an agent when its heartbeats stop. An agent that can still report ends its job as canceled.
 * Processes that an agent left running get SIGTERM, and SIGKILL 2 seconds later.
 *
 * **Gotchas**
 *
 * For Linux and macOS. The jobs of a killed agent are in other process groups. On Linux the reaper finds and stops them by their
 * environment, so a process that clears its environment escapes. On macOS none of them is stopped. In a container, start this process
 * under an init (`docker run --init`), which reaps orphans.
 *
 * **Example** (A stack with an agent for each job)
 *
 * ```ts
 * import { Stack } from "@stacksapi/core"
 * import { AgentRunner, NodeStacksClient } from "@stacksapi/node"
 * import { Effect, Layer } from "effect"
 *
 * export const program = Stack.run({ key: "my-stack", queueKey: "_default", maxInFlight: 8 }).pipe(
 *   Effect.provide(Layer.merge(NodeStacksClient.layerConfig, AgentRunner.layer({ buildPath: "/var/lib/my-stack/builds" })))
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as JobRunner from "@stacksapi/core/JobRunner"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import type * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type { AgentUnusable } from "./internal/runners/agentUnusable.ts"
import type * as JobOutput from "./JobOutput.ts"

const implementation = Effect.promise(() => import("./internal/runners/agentRunner.ts"))

export {
  /**
   * Agents can't run on this host: the program is missing or not executable, or a folder can't be written.
   *
   * @since 0.1.0
   * @category errors
   */
  AgentUnusable
} from "./internal/runners/agentUnusable.ts"

/**
 * What an agent's name can be made of.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentNameInput {
  readonly stackKey: string
  /** The slot of the agent, from 1 on. Running agents have different slots. The lowest free slot is used first. */
  readonly slot: number
  readonly job: ScheduledJob
}

/**
 * The options of the runner.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends JobOutput.Options {
  /**
   * The folder in which agents check out and build. It is created if it is missing. Each slot has its own folder in it, `slot-1` and so on,
   * which stays for the next job. Two stacks must not share it.
   */
  readonly buildPath: string
  /** The agent's program: a path, or a name to look up on `PATH`. Default `buildkite-agent`. */
  readonly agentPath?: string | undefined
  /** The URL of the service for agents. Default: the setting `BUILDKITE_AGENT_ENDPOINT`, else `StacksClient.DefaultBaseUrl`. */
  readonly endpoint?: URL | string | undefined
  /** The name of an agent. A text is a prefix, followed by `-<slot>`. Default: the stack's key. */
  readonly name?: string | ((agent: AgentNameInput) => string) | undefined
  /** The tags of agents, `key=value`. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Whether an agent exits with the status of its job. Default false. */
  readonly reflectExitStatus?: boolean | undefined
  /** How long a canceled job has to end. Default 10 seconds, at most 7 days; version 3 counts whole seconds. */
  readonly cancelGracePeriod?: Duration.Input | undefined
  /** The signal that an agent sends to a canceled job. Default `SIGTERM`. */
  readonly cancelSignal?: string | undefined
  /** The agent's configuration file. Default: the one that the agent finds. */
  readonly configFile?: string | undefined
  /** More environment variables for agents, which pass them on to their jobs. */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
}

/**
 * Runs each job with its own agent.
 *
 * **Details**
 *
 * The layer finds the agent, runs it with `--version`, and creates the folders. If that fails, the layer fails, before any job is reserved.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options
): Layer.Layer<JobRunner.JobRunner | JobOutput.JobOutput, AgentUnusable | InvalidOptions | Config.ConfigError> =>
  Layer.unwrap(Effect.map(implementation, ({ layer }) => layer(options)))
