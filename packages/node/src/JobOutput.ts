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
 * longer line is cut, and ends in `…`. A secret of several lines becomes a single `[REDACTED]`, and its lines one line.
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
 * What to hide in the output of jobs, and where to keep it.
 *
 * **Details**
 *
 * Hidden are the values of variables that are named like secrets, the passwords of URLs in any variable, the texts in `secrets`,
 * and tokens of Buildkite by their looks. A secret is found as it is and as programs print it: in JSON, quoted by a shell (`%q`,
 * `set -x`), encoded for a URL, and in Base64. One of several lines is found as a whole, whatever white space stands between its
 * lines, and its lines by themselves from 6 bytes on. Overlapping secrets are hidden together.
 *
 * **Gotchas**
 *
 * Each channel is looked at by itself: a secret of which a half is printed to either is not found. A line after which a secret
 * of several lines may go on is shown with the next line of its channel, or at the end. A secret that a job transforms in another way
 * (reversed, compressed, as hexadecimal digits), or prints in parts, is not found either.
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
   * Environment variables whose values are secrets, by name, in upper or lower case. `*` stands for any text, `?` for a character,
   * `[a-z]` for one of several, as in the agent's `redacted-vars`. Default {@link defaultRedactedVars}. Values shorter than 6 bytes
   * are not hidden: they would make the output unreadable.
   */
  readonly redactedVars?: ReadonlyArray<string> | undefined
  /** More secrets to hide, from 1 character on; other than as they are, from 6 bytes on. */
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
