/** The message of a failed command, one line that names the setting to fix, and its exit status. */
import type * as StacksApi from "@stacksapi/core/StacksApi"
import * as StacksError from "@stacksapi/core/StacksError"
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"
import { AgentUnusable } from "../../AgentRunner.ts"
import { CommandRunnerUnusable } from "../../CommandRunner.ts"
import * as ExitStatus from "./exitStatus.ts"

/** The command failed, in whole or in part. */
export class Failed extends Data.TaggedError("Failed")<{ readonly message: string }> {}

/** The command was used wrongly. */
export class Misused extends Data.TaggedError("Misused")<{ readonly message: string }> {}

export interface Description {
  readonly message: string
  readonly exitStatus: typeof ExitStatus.failure | typeof ExitStatus.usage
}

export const describe = (error: unknown): Description => {
  const isUsage =
    error instanceof Misused ||
    error instanceof StacksError.InvalidRequest ||
    error instanceof StacksError.InvalidOptions
  return { message: oneLine(messageOf(error)), exitStatus: isUsage ? ExitStatus.usage : ExitStatus.failure }
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

/** The flags whose names differ from those of their options. */
const otherFlags: Readonly<Record<string, string>> = {
  env: "--container-env",
  path: "--store",
  queueKey: "--queue",
  queues: "--queue",
  tags: "--tag",
  user: "--container-user"
}

/** The flag of an option: `--max-in-flight` for `maxInFlight`. */
const flagFor = (option: string): string =>
  otherFlags[option] ?? `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

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
        return `${error.message}. If a company's proxy made the certificate, set NODE_EXTRA_CA_CERTS to the file of the company's CA`
      }
      return error.kind === "NotConnected" && error.proxy === undefined
        ? `${error.message}. Is BUILDKITE_AGENT_ENDPOINT (or --endpoint) right, and is the service up?`
        : error.message
    case "ErrorResponse":
      return `${error.message}${hintOf(error)}`
  }
}

/** The runtime of a stack has added its own advice to these messages. */
const isAdvised = (message: string): boolean =>
  /: (start the stack with a valid cluster token|deregister those that are not in use|check its key)/.test(message)

const hintOf = ({ operation, reason }: StacksError.ErrorResponse): string => {
  if (isAdvised(reason.message)) return ""
  switch (reason._tag) {
    case "Unauthorized":
      return ". Use an agent token of the cluster, in BUILDKITE_CLUSTER_TOKEN or the token file: it starts with bkct_, and other kinds of tokens don't work"
    case "Forbidden":
      return operation === "registerStack"
        ? ". The organization may have reached its limit of active stacks: deregister one that is not needed"
        : ""
    case "NotFound":
      return operation === "registerStack"
        ? ". Does the cluster have that queue? See --queue"
        : `. ${aboutJob.has(operation) ? "Is the job's id right? " : ""}The service forgets a stack that sends no requests: ` +
            "register it (again) with `stacksapi register`"
    default:
      return ""
  }
}

const aboutJob: ReadonlySet<StacksApi.Operation> = new Set(["getJob", "finishJob", "failJob"])

export const oneLine = (text: string): string => text.replace(/\s*\n\s*/g, " ")
