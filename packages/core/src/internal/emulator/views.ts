/** What the emulator shows of its state: copies that do not change. */
import * as DateTime from "effect/DateTime"
import type { JobState, ScheduledJob } from "../../StacksSchema.ts"
import type * as State from "./state.ts"

/** A job, whatever became of it. */
export interface JobView extends ScheduledJob {
  readonly queueKey: string
  readonly command: string
  readonly env: Readonly<Record<string, string>>
  readonly state: JobState
  /** The key of the stack that has reserved it, or had when an agent took it or it ended. */
  readonly reservedBy: string | undefined
  /** When that stack reserved it. */
  readonly reservedAt: DateTime.Utc | undefined
  /** When the reservation lapses, while it is reserved. */
  readonly reservedUntil: DateTime.Utc | undefined
  readonly startedAt: DateTime.Utc | undefined
  /** When it ended, finished or canceled. */
  readonly finishedAt: DateTime.Utc | undefined
  readonly exitStatus: number | undefined
  /** What the stack said when it finished the job, or why the service did. */
  readonly detail: string | undefined
  /** The signal that ended it, by its agent's word, for example `SIGTERM`. */
  readonly signal: string | undefined
  readonly signalReason: string | undefined
  /** The agent that has it, or had: one of the emulator's `agents`. */
  readonly agentId: string | undefined
  /** How many bytes of output its agent has uploaded. */
  readonly logSize: number
}

/** An agent that registered. */
export interface AgentView {
  readonly id: string
  readonly name: string
  readonly hostname: string
  /** The version of its program. */
  readonly version: string
  /** For example `queue=linux`. */
  readonly tags: ReadonlyArray<string>
  readonly state: "registered" | "connected" | "disconnected" | "lost"
  /** The job that it has now. */
  readonly jobUuid: string | undefined
  readonly registeredAt: DateTime.Utc
  /** When it last gave a sign of life: connected, sent a heartbeat or a ping. */
  readonly lastSeen: DateTime.Utc
}

/** A queue of the cluster. */
export interface QueueView {
  readonly key: string
  readonly id: string
  /** Whether its dispatch is paused. */
  readonly paused: boolean
}

/** A notification that was stored. */
export interface NotificationView {
  readonly jobUuid: string
  readonly stackKey: string
  readonly detail: string
  /** When it happened: what the stack said, or when it arrived. */
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
