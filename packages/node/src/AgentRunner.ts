/**
 * Runs each job by a `buildkite-agent` of its own, which acquires the job, runs it, and ends.
 *
 * @since 0.1.0
 */
import type * as JobRunner from "@stacksapi/core/JobRunner"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import type * as Config from "effect/Config"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as JobOutput from "./JobOutput.ts"

/**
 * How agents are started.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends JobOutput.Options {
  /**
   * The folder in which agents check out and build, made where it is missing. Each slot has a folder of its own in it, `slot-1` and
   * so on, which stays for the next job. Two stacks must not share it.
   */
  readonly buildPath: string
  /** The agent: a path, or a name to look up on `PATH`. Default `buildkite-agent`. */
  readonly agentPath?: string | undefined
  /** Where agents find the service. Default: the setting `BUILDKITE_AGENT_ENDPOINT`, else `StacksClient.DefaultBaseUrl`. */
  readonly endpoint?: URL | string | undefined
  /** The name of an agent; as a text, a prefix of `-<slot>`. Default: the stack's key. */
  readonly name?: string | ((agent: AgentSeat) => string) | undefined
  /** The tags of agents, `key=value`. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Whether an agent ends with the exit status of its job. Default false. */
  readonly reflectExitStatus?: boolean | undefined
  /** How long a canceled job has to end. Default 10 seconds. */
  readonly cancelGracePeriod?: Duration.Input | undefined
  /** The signal that an agent sends to a canceled job. Default `SIGTERM`. */
  readonly cancelSignal?: string | undefined
  /** A configuration file of the agent. Default: the one that the agent finds. */
  readonly configFile?: string | undefined
  /** More environment variables for agents, which hand them on to their jobs. */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /** Which settings the agent has: those of version 3 or of version 4. Default `auto`: the agent is asked for its version. */
  readonly agentVersion?: "auto" | 3 | 4 | undefined
}

/**
 * Where an agent runs, and for what job.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentSeat {
  readonly stackKey: string
  /** From 1 on. No two agents that run have the same one; a free one is used again, the lowest first. */
  readonly slot: number
  readonly job: ScheduledJob
}

/**
 * No agent can run here: its program is missing or no program, or a folder that it needs can't be written.
 *
 * @since 0.1.0
 * @category errors
 */
export class AgentUnusable extends Data.TaggedError("AgentUnusable")<{
  /** What is wrong, and what to do about it. */
  readonly message: string
  /** The option to look at. */
  readonly option: "agentPath" | "buildPath" | "logDirectory" | "agentVersion"
  readonly cause?: unknown
}> {}

/**
 * Runs each job by an agent of its own.
 *
 * @since 0.1.0
 * @category layers
 */
export declare const layer: (
  options: Options
) => Layer.Layer<JobRunner.JobRunner | JobOutput.JobOutput, AgentUnusable | Config.ConfigError>
