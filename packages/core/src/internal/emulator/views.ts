/** Immutable copies of the state of the emulator. */
import * as DateTime from "effect/DateTime"
import type { JobState, ScheduledJob } from "../../StacksSchema.ts"
import type * as Artifacts from "./artifacts.ts"
import type * as BuildData from "./buildData.ts"
import type { Build, Step } from "./builds.ts"
import { hasPassed } from "./dependencies.ts"
import type { InputField } from "./pipeline/inputFields.ts"
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
  /** The ids of the jobs that it depends on. */
  readonly dependsOn: ReadonlyArray<string>
  /** The ids of those of them that it still waits for. */
  readonly waitsFor: ReadonlyArray<string>
  /** Whether it failed, and counts as passed for the jobs that depend on it. */
  readonly hasSoftFailed: boolean
  /** The step of an uploaded pipeline that it belongs to, one of the emulator's `steps`. */
  readonly stepId: string | undefined
  /** How many times it has been retried before. */
  readonly retryCount: number
  /** The job that retries it. */
  readonly retriedBy: string | undefined
}

/** A build that pipelines are uploaded to. */
export interface StartedBuild {
  readonly uuid: string
  readonly number: number
  readonly branch: string
  readonly pipelineSlug: string
  /** The variables that its jobs have, including those of the service. */
  readonly env: Readonly<Record<string, string>>
}

/** A step of an uploaded pipeline. */
export interface StepView {
  readonly id: string
  readonly kind: "command" | "wait" | "block" | "input" | "trigger" | "group"
  readonly key: string | undefined
  readonly label: string | undefined
  readonly build: { readonly uuid: string; readonly number: number; readonly pipelineSlug: string }
  /** The id of the group that it is in. */
  readonly groupId: string | undefined
  /**
   * `waiting` for other steps, `blocked` until a person unblocks it, `running` while its jobs may run, how it ended, or `skipped`:
   * it is not a part of the build.
   */
  readonly state: "waiting" | "blocked" | "running" | "passed" | "failed" | "canceled" | "skipped"
  /**
   * The ids of the steps that it waits for: by `depends_on`, by a `wait`, a `block` or its group, or because their jobs have uploaded
   * it; and of those that their jobs have uploaded.
   */
  readonly dependsOn: ReadonlyArray<string>
  /** Why a person has to unblock it, now or when the steps before it have ended. Undefined if nobody has to. */
  readonly hold: string | undefined
  /** What to ask the person. */
  readonly prompt: string | undefined
  /** What the person fills in. The values become meta-data of the build. */
  readonly fields: ReadonlyArray<InputField>
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

const hasEnded = (state: State.State, jobUuid: string): boolean => state.jobs.get(jobUuid)?.finishedAt !== undefined

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
  logSize: state.logs.size(job.listed.id),
  dependsOn: job.dependsOn,
  waitsFor: job.state === "waiting" ? Array.from(job.waitsFor).filter((id) => !hasEnded(state, id)) : [],
  hasSoftFailed: job.exitStatus !== 0 && hasPassed(job),
  stepId: job.pipelineStep?.id,
  retryCount: job.retryCount,
  retriedBy: job.retriedBy?.listed.id
})

export const startedBuild = ({ branch, env, number, pipelineSlug, uuid, variables }: Build): StartedBuild => ({
  uuid,
  number,
  branch,
  pipelineSlug,
  env: { ...variables, ...env }
})

export const step = (step: Step): StepView => {
  const { build, fields, group, holds, id, key, kind, label, prompt, state } = step
  return {
    id,
    kind,
    key,
    label,
    build: { uuid: build.uuid, number: build.number, pipelineSlug: build.pipelineSlug },
    groupId: group?.id,
    state,
    dependsOn: awaitedBy(step),
    hold: holds[0],
    prompt,
    fields
  }
}

const awaitedBy = ({ needs }: Step): ReadonlyArray<string> => {
  const awaited = new Set<Step>()
  const add = (step: Step): void => {
    if (awaited.has(step)) return
    awaited.add(step)
    for (const uploaded of [...step.uploads, ...step.children.flatMap(({ uploads }) => uploads)]) add(uploaded)
  }
  for (const { isUploader, step } of needs) {
    if (isUploader) awaited.add(step)
    else add(step)
  }
  return Array.from(awaited, ({ id }) => id)
}

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
