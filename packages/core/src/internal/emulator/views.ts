/** Immutable copies of the state of the emulator. */
import * as DateTime from "effect/DateTime"
import type { JobState, ScheduledJob } from "../../StacksSchema.ts"
import type * as Artifacts from "./artifacts.ts"
import type * as BuildData from "./buildData.ts"
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

/** A build, and what its jobs have left there. */
export interface BuildView {
  readonly id: string
  /** The ids of its jobs, in the order of the pipeline. */
  readonly jobUuids: ReadonlyArray<string>
  readonly metaData: Readonly<Record<string, string>>
  readonly annotations: ReadonlyArray<Annotation>
  /** In the order of their creation. */
  readonly artifacts: ReadonlyArray<Artifact>
}

/** An annotation of a build or a job. */
export interface Annotation {
  readonly context: string
  readonly scope: "build" | "job"
  /** The job that annotated it last. */
  readonly jobUuid: string
  readonly style: string
  readonly priority: number
  readonly body: string
}

/** An artifact of a job. */
export interface Artifact {
  readonly id: string
  readonly jobUuid: string
  readonly path: string
  /** In bytes. */
  readonly size: number
  readonly sha1sum: string
  readonly sha256sum: string
  readonly state: "new" | "finished" | "error"
  /** Where its agent has uploaded it by itself; undefined for the emulator. */
  readonly uploadDestination: string | undefined
  readonly createdAt: DateTime.Utc
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

export const build = (build: BuildData.BuildData): BuildView => ({
  id: build.id,
  jobUuids: build.jobs.map(({ listed }) => listed.id),
  metaData: Object.fromEntries(build.metaData),
  annotations: Array.from(build.annotations.values(), (annotation) => ({ ...annotation })),
  artifacts: build.artifacts.map(artifact)
})

const artifact = (artifact: Artifacts.Artifact): Artifact => ({
  id: artifact.id,
  jobUuid: artifact.job.listed.id,
  path: artifact.path,
  size: artifact.fileSize,
  sha1sum: artifact.sha1sum,
  sha256sum: artifact.sha256sum,
  state: artifact.state,
  uploadDestination: artifact.uploadDestination,
  createdAt: DateTime.makeUnsafe(artifact.createdAt)
})

const time = (millis: number | undefined): DateTime.Utc | undefined =>
  millis === undefined ? undefined : DateTime.makeUnsafe(millis)
