/** Containers, as the agents that they are. */
import { type Agent, ProviderError } from "@stacksapi/core/AgentProvider"
import * as DateTime from "effect/DateTime"
import { agentExits } from "../process/agentExits.ts"
import { annotationsIn } from "./container.ts"
import type { Details, Summary } from "./schemas.ts"

export const labels = { stack: "stacksapi-stack", job: "stacksapi-job" } as const

/** The filter for the containers of a stack, or of all stacks. */
export const filtersFor = (stackKey?: string): string =>
  JSON.stringify({ label: [stackKey === undefined ? labels.stack : `${labels.stack}=${stackKey}`] })

export const nameOf = ({ Names, Id }: Summary): string => (Names?.[0] ?? Id).replace(/^\//, "")

export const nameIn = ({ Name }: Details): string => Name.replace(/^\//, "")

/** Whether a container has been created and not started: its token or its start is missing. It is no agent yet. */
export const isUnfinished = ({ State }: Summary): boolean => State === "created"

export const isEnded = ({ State }: Pick<Summary, "State">): boolean => State === "exited" || State === "dead"

/** A container that has not ended. */
export const running = (summary: Summary): Agent => ({
  ...identity(nameOf(summary), summary.Labels),
  phase: "Running",
  createdAt: DateTime.makeUnsafe(summary.Created * 1000)
})

/** The agent of a container whose details are known. `output` is the container's last lines. */
export const inspected = (details: Details, output: ReadonlyArray<string> = []): Agent => {
  const { Config, Created, HostConfig, State } = details
  const agent = {
    ...identity(nameIn(details), Config.Labels),
    // A listing has whole seconds.
    createdAt: DateTime.makeUnsafe(Math.floor(DateTime.toEpochMillis(Created) / 1000) * 1000)
  }
  if (!isEnded({ State: State.Status })) return { ...agent, phase: "Running" }
  const exitStatus = State.ExitCode
  if (State.OOMKilled) {
    const limit = HostConfig.Memory === 0 ? "" : `: its limit is ${Math.round(HostConfig.Memory / 1024 ** 2)} MiB`
    const message = `The container ran out of memory${limit}`
    // Said even if the agent has reported its job: the job's output does not tell why a program was killed.
    return { ...agent, phase: "Failed", exitStatus, message, problem: refused(message) }
  }
  if (State.Error !== "") {
    return { ...agent, phase: "Failed", exitStatus, message: `The container did not run: ${State.Error}` }
  }
  if (exitStatus === 0) return { ...agent, phase: "Succeeded", exitStatus, message: ended(0, output) }
  return { ...agent, phase: "Failed", exitStatus, message: ended(exitStatus, output) }
}

const identity = (name: string, all: Summary["Labels"]) => ({
  name,
  jobUuid: all?.[labels.job] ?? "",
  annotations: annotationsIn(all ?? {})
})

const refused = (message: string) => new ProviderError({ reason: "Refused", message })

/** What an exit status says of a container. */
const exits: Readonly<Record<number, string>> = {
  126: "its program can't be run",
  127: "its image lacks the program",
  137: "it was killed"
}

/** How a container ended, for people: its status, what that means for an agent, and the last line that says something. */
const ended = (exitStatus: number, output: ReadonlyArray<string>): string => {
  const reason = exits[exitStatus] ?? agentExits[exitStatus]
  const last = output.findLast((line) => line.trim() !== "")
  return [
    `The container ended with exit status ${exitStatus}${reason === undefined ? "" : `: ${reason}`}`,
    ...(last === undefined ? [] : [`its last line: ${last.trim()}`])
  ].join("; ")
}
