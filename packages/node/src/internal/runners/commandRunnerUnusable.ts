import * as Data from "effect/Data"

/** Commands can't run on this host: the shell or a folder is missing, or a folder can't be written. */
export class CommandRunnerUnusable extends Data.TaggedError("CommandRunnerUnusable")<{
  /** What is wrong, and how to fix it. */
  readonly message: string
  /** The option that is wrong. */
  readonly option: "logDirectory" | "shell" | "workingDirectory"
  readonly cause?: unknown
}> {}
