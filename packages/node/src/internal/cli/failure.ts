/** What a command says when it fails: one line, with the setting to fix. And with which status it ends. */
import type * as StacksApi from "@stacksapi/core/StacksApi"
import * as StacksError from "@stacksapi/core/StacksError"
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"
import { AgentUnusable } from "../../AgentRunner.ts"
import { CommandRunnerUnusable } from "../../CommandRunner.ts"

/** The command did what it could, and that was not all it was asked for. */
export class Failed extends Data.TaggedError("Failed")<{ readonly message: string }> {}

/** The command was called in a way that can't be meant. */
export class Misused extends Data.TaggedError("Misused")<{ readonly message: string }> {}

export interface Description {
  readonly message: string
  readonly exitStatus: 1 | 2
}

export const describe = (error: unknown): Description => {
  const isUsage =
    error instanceof Misused ||
    error instanceof StacksError.InvalidRequest ||
    error instanceof StacksError.InvalidOptions
  return { message: oneLine(messageOf(error)), exitStatus: isUsage ? 2 : 1 }
}

const messageOf = (error: unknown): string => {
  if (StacksError.isStacksError(error)) return ofService(error)
  if (error instanceof StacksError.InvalidOptions) return `${flagFor(error.option)} ${error.issue}`
  if (error instanceof Config.ConfigError) return `A setting in the environment can't be used: ${error.message}`
  if (error instanceof AgentUnusable || error instanceof CommandRunnerUnusable) {
    return error.message.replace(`set ${error.option} to`, `set ${flagOf[error.option]} to`)
  }
  return Predicate.isError(error) && error.message !== "" ? error.message : String(error)
}

/** The flag of an option: `--max-in-flight` for `maxInFlight`. */
const flagFor = (option: string): string =>
  option === "path" ? "--store" : `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

const flagOf = {
  agentPath: "--agent-path",
  buildPath: "--build-path",
  logDirectory: "--log-directory",
  shell: "the shell",
  workingDirectory: "--directory"
}

const ofService = (error: StacksError.StacksError): string => {
  switch (error._tag) {
    case "InvalidRequest":
      return error.issue
    case "DecodeError":
      return `${error.message}. Does BUILDKITE_AGENT_ENDPOINT (or --endpoint) name Buildkite's agent API?`
    case "TransportError":
      if (error.proxy === undefined && /\(\w*(?:CERT|SIGNATURE)\w*\)$/.test(error.message)) {
        return `${error.message}. If it is that of a company's proxy, set NODE_EXTRA_CA_CERTS to the file of the company's CA`
      }
      return error.kind === "NotConnected" && error.proxy === undefined
        ? `${error.message}. Is BUILDKITE_AGENT_ENDPOINT (or --endpoint) right, and is the service up?`
        : error.message
    case "ErrorResponse":
      return `${error.message}${hintOf(error)}`
  }
}

const hintOf = ({ operation, reason }: StacksError.ErrorResponse): string => {
  switch (reason._tag) {
    case "Unauthorized":
      return ". Set BUILDKITE_CLUSTER_TOKEN to an agent token of the cluster: it starts with bkct_, and other kinds of tokens don't work"
    case "Forbidden":
      return operation === "registerStack"
        ? ". The organization may have as many active stacks as it is allowed: deregister one that is not needed"
        : ""
    case "NotFound":
      return operation === "registerStack"
        ? ". Does the cluster have that queue? See --queue"
        : `. ${aboutJob.has(operation) ? "Is the job's id right? " : ""}A stack that the service does not hear from is forgotten: ` +
            "register it (again) with `stacksapi register`"
    default:
      return ""
  }
}

const aboutJob: ReadonlySet<StacksApi.Operation> = new Set(["getJob", "finishJob", "failJob"])

export const oneLine = (text: string): string => text.replace(/\s*\n\s*/g, " ")
