/** Immutable copies of the state of the emulator. */
import * as DateTime from "effect/DateTime"
import type { JobState, ScheduledJob } from "../../StacksSchema.ts"
import type * as State from "./state.ts"

/** A job in any state. */
export interface JobView extends ScheduledJob {
  readonly queueKey: string
  readonly command: string
  readonly env: Readonly<Record<string, string>>
  readonly state: JobState
  /** The key of the stack that reserved it. It is kept after an agent has acquired the job or it has ended. */
  readonly reservedBy: string | undefined
  /** When that stack reserved it. */
  readonly reservedAt: DateTime.Utc | undefined
  /** When the reservation lapses, if it is reserved. */
  readonly reservedUntil: DateTime.Utc | undefined
  readonly startedAt: DateTime.Utc | undefined
  /** When it was finished or canceled. */
  readonly finishedAt: DateTime.Utc | undefined
  readonly exitStatus: number | undefined
  /** The detail of the stack that finished the job, or of the service. */
  readonly detail: string | undefined
  /** The signal that ended it, as reported by its agent, for example `SIGTERM`. */
  readonly signal: string | undefined
  readonly signalReason: string | undefined
  /** The agent that acquired it, one of the emulator's `agents`. */
  readonly agentId: string | undefined
  /** The bytes of output that its agent has uploaded. */
  readonly logSize: number
}

/** A registered agent. */
export interface AgentView {
  readonly id: string
  readonly name: string
  readonly hostname: string
  /** The version of `buildkite-agent`. */
  readonly version: string
  /** For example `queue=linux`. */
  readonly tags: ReadonlyArray<string>
  readonly state: "registered" | "connected" | "disconnected" | "lost"
  /** The job that it runs. */
  readonly jobUuid: string | undefined
  readonly registeredAt: DateTime.Utc
  /** The time of its last connect, heartbeat or ping. */
  readonly lastSeen: DateTime.Utc
}

/** A queue of the cluster. */
export interface QueueView {
  readonly key: string
  readonly id: string
  /** Whether its dispatch is paused. */
  readonly paused: boolean
}

/** A stored notification. */
export interface NotificationView {
  readonly jobUuid: string
  readonly stackKey: string
  readonly detail: string
  /** The time that the stack gave, or the time of arrival. */
  readonly timestamp: DateTime.Utc
  readonly receivedAt: DateTime.Utc
}

export const job = (state: State.State, job: State.Job): JobView => ({
  ...job.listed,
  queueKey: job.queueKey,
  command: job.command,
  env: job.env,
  state: job.state,
  reservedBy: job.reservedBy,
  reservedAt: time(job.reservedAt),
  reservedUntil: job.state === "reserved" ? DateTime.makeUnsafe(job.reservedUntil) : undefined,
  startedAt: time(job.startedAt),
  finishedAt: time(job.finishedAt),
  exitStatus: job.exitStatus,
  detail: job.detail,
  signal: job.signal,
  signalReason: job.signalReason,
  agentId: job.agent?.id,
  logSize: state.logs.size(job.listed.id)
})

export const agent = (agent: State.Agent): AgentView => ({
  id: agent.id,
  name: agent.name,
  hostname: agent.hostname,
  version: agent.version,
  tags: agent.tags,
  state: agent.state,
  jobUuid: agent.job?.listed.id,
  registeredAt: DateTime.makeUnsafe(agent.registeredAt),
  lastSeen: DateTime.makeUnsafe(agent.lastSeen)
})

export const queue = ({ id, key, paused }: State.Queue): QueueView => ({ key, id, paused })

export const notification = ({ receivedAt, timestamp, ...rest }: State.Notification): NotificationView => ({
  ...rest,
  timestamp: DateTime.makeUnsafe(timestamp),
  receivedAt: DateTime.makeUnsafe(receivedAt)
})

const time = (millis: number | undefined): DateTime.Utc | undefined =>
  millis === undefined ? undefined : DateTime.makeUnsafe(millis)
