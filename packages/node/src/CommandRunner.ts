/**
 * Runs the command of each job itself, in a shell: for local runs, and for stacks whose jobs need no agent.
 *
 * @since 0.1.0
 */
import type * as JobRunner from "@stacksapi/core/JobRunner"
import type * as Duration from "effect/Duration"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as JobOutput from "./JobOutput.ts"

/**
 * How commands are run.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends JobOutput.Options {
  /**
   * The program and arguments that run a command, which comes as one more argument. Default `/bin/bash -e -c`, as the agent's; where
   * there is no bash, `/bin/sh -e -c`.
   */
  readonly shell?: readonly [program: string, ...args: ReadonlyArray<string>] | undefined
  /** The folder to run all commands in, such as a checkout. Default: for each job a new empty one, removed after it. */
  readonly workingDirectory?: string | undefined
  /** How long a job may run. Default: for ever. */
  readonly timeout?: Duration.Input | undefined
  /** How long a job that is canceled or timed out has from SIGTERM to SIGKILL. Default 10 seconds. */
  readonly cancelGracePeriod?: Duration.Input | undefined
  /** More environment variables; a job's own win over them. */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
}

/**
 * Runs the command of each job in a shell.
 *
 * @since 0.1.0
 * @category layers
 */
export declare const layer: (options?: Options) => Layer.Layer<JobRunner.JobRunner | JobOutput.JobOutput>
