/**
 * The output of jobs: all lines as they arrive, and the last lines of each job. `AgentRunner` and `CommandRunner` provide it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Stream from "effect/Stream"

/**
 * A line that a job, or the agent that runs it, printed.
 *
 * **Details**
 *
 * The text has no line end, no ANSI sequences and no control characters. Secrets are replaced by `[REDACTED]`. Of a line that overwrites
 * itself, such as a progress bar, it is the last version. It has at most {@link maxLineLength} characters: a longer line is cropped, and
 * ends in `…`. A secret of several lines becomes a single `[REDACTED]` on one line.
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
 * The output of a runner's jobs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * The lines of all jobs, from now on. It never fails, and ends when the runner's layer closes. Jobs never wait for readers: a reader that
   * is more than {@link maxWaitingLines} behind misses the oldest lines.
   */
  readonly lines: Stream.Stream<Line>
  /**
   * The last lines of a job, oldest first: at most {@link maxTailLines}. They are kept for running jobs, and for the last
   * {@link maxEndedJobs} jobs that ended. Empty for any other job.
   */
  readonly tail: (jobUuid: string) => Effect.Effect<ReadonlyArray<string>>
}

/**
 * The output of a runner's jobs.
 *
 * @since 0.1.0
 * @category services
 */
export class JobOutput extends Context.Service<JobOutput, Service>()("@stacksapi/node/JobOutput") {}

/**
 * Options for the output of jobs: what to redact, and where to keep it.
 *
 * **Details**
 *
 * Redacted are the values of variables that are named like secrets, the passwords of URLs in any variable, the texts in `secrets`, and
 * Buildkite's tokens by their format. A secret is found as it is, and as programs print it: in JSON, quoted by a shell (`%q`, `set -x`),
 * encoded for a URL, and in Base64. A secret of several lines is found as a whole, with any white space between its lines; so are its
 * single lines of 6 bytes or more. Overlapping secrets are redacted together.
 *
 * **Gotchas**
 *
 * The standard output and the standard error are searched separately: a secret that is split between them is not found. A line that may
 * be the beginning of a secret of several lines is shown with the next line of its channel, or at the end. A secret that a job transforms in
 * another way (reversed, compressed, as hexadecimal digits), or prints in parts, is not found.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /**
   * A folder for the output of each job, as `<job id>.log`, readable by this user only. The folder is created if it is missing. You have to
   * remove old files yourself. Default: no files.
   */
  readonly logDirectory?: string | undefined
  /**
   * The environment variables whose values are secrets, in upper or lower case. `*` matches any text, `?` one character, and `[a-z]` one of
   * several, as in the agent's `redacted-vars`. Default {@link defaultRedactedVars}. Values shorter than 6 bytes are not redacted, because
   * that would make the output unreadable.
   */
  readonly redactedVars?: ReadonlyArray<string> | undefined
  /** More secrets to redact, of at least 1 character. Encoded forms are redacted from 6 bytes on. */
  readonly secrets?: ReadonlyArray<Redacted.Redacted> | undefined
}

/**
 * The variables whose values are redacted by default: the same as the agent's.
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
 * The maximum length of a line, in characters (UTF-16 code units).
 *
 * @since 0.1.0
 * @category constants
 */
export const maxLineLength = 4096

/**
 * How many last lines are kept of each job.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxTailLines = 100

/**
 * Of how many ended jobs the last lines are kept.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxEndedJobs = 100

/**
 * How many lines a slow reader can be behind.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxWaitingLines = 4096
