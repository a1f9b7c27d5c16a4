import * as Data from "effect/Data"

/** Agents can't run on this host: the program is missing or not executable, or a folder can't be written. */
export class AgentUnusable extends Data.TaggedError("AgentUnusable")<{
  /** What is wrong, and how to fix it. */
  readonly message: string
  /** The option that is wrong. */
  readonly option: "agentPath" | "buildPath" | "logDirectory"
  readonly cause?: unknown
}> {}
