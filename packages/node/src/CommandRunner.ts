/**
 * Runs the command of each job in a shell.
 *
 * **When to use**
 *
 * Use it for local runs, and for stacks whose jobs need no agent. To run jobs with checkouts, plugins, hooks and artifacts, use
 * `AgentRunner`.
 *
 * **Details**
 *
 * A command gets the job's environment, the variables that Buildkite's jobs rely on (`BUILDKITE_JOB_ID`, `CI` and so on), and only what
 * programs need of this process's environment: `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, `LANG`, `LC_ALL`, `LC_CTYPE`, `TZ`,
 * `TMPDIR`, `SSL_CERT_FILE`, `SSL_CERT_DIR`, `NODE_EXTRA_CA_CERTS` and the variables of proxies. Its standard input is empty.
 *
 * The shell reads the command from a file that only this user can read, in the folder for temporary files. So a command can have any
 * length, and is not visible in the process list.
 *
 * The job ends with the exit status of the shell, and the last lines of its output as the detail. If a signal ended the shell, including a
 * real-time signal, the status is 128 and the signal's number. Processes that the command left running get SIGTERM, and SIGKILL 2 seconds
 * later. Then the job's folder is removed. If that fails, a warning is logged, and the job's outcome stays the same.
 *
 * A job that is canceled or times out gets SIGTERM, and SIGKILL after `cancelGracePeriod`, with all of its descendants. A stack that ends
 * does not wait for this, but closing the layer does. If this process is killed, a small reaper process does the same: after
 * `cancelGracePeriod` and 5 seconds, the processes and folders of all jobs are gone.
 *
 * If this host can't start a command, for lack of file descriptors, processes, memory or disk space, or because a shell or a folder is
 * missing, the runner fails with a retryable error. The command has not started then. An environment that is too long for the system, or
 * contains a NUL character, fails the job.
 *
 * **Gotchas**
 *
 * A `shell` that runs commands elsewhere, such as in a container or as another user, has to be able to read the command's file.
 *
 * For Linux and macOS. There is no isolation: a command runs as this process's user, and can read that user's files, use the network,
 * signal other processes, and read what this process can, including its token. Run only commands that you trust. A process that leaves the
 * command's process group (`setsid`, a daemon) is stopped on Linux only, and only if it keeps its environment. In a container, start this
 * process under an init (`docker run --init`), which reaps orphans.
 *
 * @see `AgentRunner` to run each job by a `buildkite-agent`
 * @since 0.1.0
 */
import type * as JobRunner from "@stacksapi/core/JobRunner"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type { CommandRunnerUnusable } from "./internal/runners/commandRunnerUnusable.ts"
import type * as JobOutput from "./JobOutput.ts"

const implementation = Effect.promise(() => import("./internal/runners/commandRunner.ts"))

export {
  /**
   * Commands can't run on this host: the shell or a folder is missing, or a folder can't be written.
   *
   * @since 0.1.0
   * @category errors
   */
  CommandRunnerUnusable
} from "./internal/runners/commandRunnerUnusable.ts"

/**
 * The options of the runner.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends JobOutput.Options {
  /**
   * The program and arguments that run a command. Default `/bin/bash -e -c`, like the agent; `/bin/sh -e -c` if there is no bash. A shell
   * with `-c` as its last argument reads the command's file with `. FILE`. Any other program gets the file as its last argument, in place
   * of an option for code (`python3 -c`, `node -e`).
   */
  readonly shell?: readonly [program: string, ...args: ReadonlyArray<string>] | undefined
  /** The folder in which all commands run, such as a checkout. Default: a new empty folder for each job, removed afterwards. */
  readonly workingDirectory?: string | undefined
  /**
   * The time limit of a job. After it the job is stopped like a canceled one, and fails with the signal reason `cancel`. At least 1
   * millisecond. Default: no limit.
   */
  readonly timeout?: Duration.Input | undefined
  /** The time from SIGTERM to SIGKILL for a job that is canceled or timed out. Default 10 seconds, at most 7 days. */
  readonly cancelGracePeriod?: Duration.Input | undefined
  /** More environment variables. The job's own take precedence. Buildkite's tokens are left out. */
  readonly env?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
}

/**
 * Runs the command of each job in a shell.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<JobRunner.JobRunner | JobOutput.JobOutput, CommandRunnerUnusable | InvalidOptions> =>
  Layer.unwrap(Effect.map(implementation, ({ layer }) => layer(options)))
