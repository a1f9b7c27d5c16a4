/**
 * What the jobs of a runner print: as it comes, and the last of it. `AgentRunner` and `CommandRunner` provide it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Stream from "effect/Stream"

/**
 * A line that a job printed, or the agent that runs it.
 *
 * **Details**
 *
 * The text has no line end, no ANSI sequences and no control characters; secrets in it are replaced by `[REDACTED]`. Of a line
 * that overwrites itself, as a progress bar does, it is the last version. It has at most {@link maxLineLength} characters: a
 * longer line is cut, and ends in `…`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Line {
  readonly jobUuid: string
  readonly channel: "stdout" | "stderr"
  readonly text: string
  /** When it arrived. */
  readonly time: DateTime.Utc
}

/**
 * What the jobs of a runner print.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * The lines of all jobs, from now on. Never fails, ends with the runner's layer. A reader that is slow misses lines, the oldest
   * of those that wait first ({@link maxWaitingLines}): jobs never wait for readers.
   */
  readonly lines: Stream.Stream<Line>
  /**
   * The last lines of a job, oldest first: at most {@link maxTailLines}. Kept while the job runs, and of the last
   * {@link maxEndedJobs} jobs that ended; empty for any other.
   */
  readonly tail: (jobUuid: string) => Effect.Effect<ReadonlyArray<string>>
}

/**
 * What the jobs of a runner print.
 *
 * @since 0.1.0
 * @category services
 */
export class JobOutput extends Context.Service<JobOutput, Service>()("@stacksapi/node/JobOutput") {}

/**
 * What to hide in the output of jobs, and where to keep it. Tokens of Buildkite are always hidden, and passwords of URLs in the
 * environment, such as those of proxies and databases.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /**
   * A folder in which each job's output is kept, as `<job id>.log`, readable by this user only; made where it is missing.
   * Whoever sets it also cleans it up. Default: no files.
   */
  readonly logDirectory?: string | undefined
  /**
   * Environment variables whose values are secrets, by name; `*` stands for any text, case counts. Default
   * {@link defaultRedactedVars}. Values shorter than 6 characters are not hidden: they would make the output unreadable.
   */
  readonly redactedVars?: ReadonlyArray<string> | undefined
  /** More secrets to hide, from 1 character on. */
  readonly secrets?: ReadonlyArray<Redacted.Redacted> | undefined
}

/**
 * The variables whose values are hidden unless told otherwise: those that the agent hides too.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultRedactedVars: ReadonlyArray<string> = [
  "*_PASSWORD",
  "*_SECRET",
  "*_TOKEN",
  "*_PRIVATE_KEY",
  "*_SSH_KEY",
  "*_ACCESS_KEY",
  "*_SECRET_KEY",
  "*_API_KEY",
  "*_CONNECTION_STRING"
]

/**
 * How long a line can be, in characters (UTF-16 code units).
 *
 * @since 0.1.0
 * @category constants
 */
export const maxLineLength = 4096

/**
 * How many lines are kept of one job.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxTailLines = 100

/**
 * How many ended jobs still have their last lines.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxEndedJobs = 100

/**
 * How many lines wait for a slow reader.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxWaitingLines = 4096
