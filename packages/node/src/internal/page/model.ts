/** The model of the page: the emulator's state as small, plain JSON. Times are milliseconds since the epoch. */
import * as StacksApi from "@stacksapi/core/StacksApi"
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Secrets from "../process/secrets.ts"
import * as Bodies from "./bodies.ts"
import type * as Waits from "./waits.ts"

/** The operations that a fault can select. */
export const operations = Object.keys(StacksApi.StacksApi.groups.stacks.endpoints) as ReadonlyArray<StacksApi.Endpoint>

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/** The phases of jobs on the page, which group their states. */
export const phases = ["waiting", "scheduled", "reserved", "running", "passed", "failed", "canceled"] as const

export type Phase = (typeof phases)[number]

export const phaseOf = ({ exitStatus, state }: StacksEmulator.Job): Phase => {
  if (state === "scheduled") return "scheduled"
  if (state === "reserved") return "reserved"
  if (StacksSchema.isAgentOwned(state)) return "running"
  if (state === "finished") return exitStatus === 0 ? "passed" : "failed"
  if (state === "timed_out" || state === "broken" || state === "expired") return "failed"
  return StacksSchema.isFinal(state) ? "canceled" : "waiting"
}

/** How much of a command a list shows. */
const maxLabelLength = 200

/** A job in the list. */
export const row = (job: StacksEmulator.Job) => ({
  id: job.id,
  label: (labelOf(job) || job.step.key || firstLine(job.command)).slice(0, maxLabelLength),
  queue: job.queueKey,
  pipeline: job.pipeline.slug,
  build: job.build.number,
  state: job.state,
  phase: phaseOf(job),
  exitStatus: job.exitStatus,
  hasSoftFailed: job.hasSoftFailed,
  scheduledAt: DateTime.toEpochMillis(job.scheduledAt),
  runnableAt: millis(job.runnableAt ?? undefined),
  reservedAt: millis(job.reservedAt),
  startedAt: millis(job.startedAt),
  finishedAt: millis(job.finishedAt)
})

/** The label of the step in its pipeline; jobs of one matrix have different labels. */
const labelOf = (job: StacksEmulator.Job): string | undefined => job.env["BUILDKITE_LABEL"]

const firstLine = (text: string): string => text.trimStart().split("\n", 1)[0] ?? ""

/** A single job, with all its data. */
export const job = (
  job: StacksEmulator.Job,
  notifications: ReadonlyArray<StacksEmulator.Notification>,
  log: string,
  waits: ReturnType<typeof Waits.waits>
) => ({
  ...row(job),
  command: job.command,
  env: Secrets.withoutSecrets(job.env),
  priority: job.priority,
  agentQueryRules: job.agentQueryRules,
  branch: job.build.branch,
  waits,
  reservedBy: job.reservedBy,
  reservedUntil: millis(job.reservedUntil),
  detail: job.detail,
  signal: job.signal,
  signalReason: job.signalReason,
  stepId: job.stepId,
  retryCount: job.retryCount,
  retriedBy: job.retriedBy,
  canBeRetried: job.stepId !== undefined && StacksSchema.isFinal(job.state) && job.retriedBy === undefined,
  canBeCanceled: !StacksSchema.isFinal(job.state) && job.state !== "canceling",
  notifications: notifications.filter(({ jobUuid }) => jobUuid === job.id).map(notification),
  log: Secrets.redactorOf(job.env).redact(log).slice(-maxLogLength),
  isLogCut: log.length > maxLogLength
})

/** The output of a job for a program that follows it: complete lines, unless the job has ended. */
export const log = (job: StacksEmulator.Job, text: string | undefined) => {
  const isEnded = StacksSchema.isFinal(job.state)
  const shown = text === undefined || isEnded ? text : text.slice(0, text.lastIndexOf("\n") + 1)
  return {
    // While a part of a line is held back, the program has not got all of this size, and must get the text again.
    size: shown === text ? job.logSize : -1,
    isEnded,
    text: shown === undefined ? undefined : Secrets.redactorOf(job.env).redact(shown)
  }
}

/** The maximum length of the end of a log. */
const maxLogLength = 100_000

export interface Filter {
  readonly phase?: Phase | undefined
  readonly queue?: string | undefined
  readonly text?: string | undefined
}

/** Whether a job matches a filter: by phase, queue, or a text in its row or command. */
export const matches = ({ phase, queue, text }: Filter): ((job: StacksEmulator.Job) => boolean) => {
  const sought = text?.trim().toLowerCase() ?? ""
  return (job) =>
    (phase === undefined || phaseOf(job) === phase) &&
    (queue === undefined || job.queueKey === queue) &&
    (sought === "" ||
      [job.id, job.command, labelOf(job), job.step.key, job.pipeline.slug, job.build.branch].some((part) =>
        part?.toLowerCase().includes(sought)
      ))
}

// -----------------------------------------------------------------------------
// Steps
// -----------------------------------------------------------------------------

/** A step that waits for a person, now (`blocked`) or when the steps before it have ended. */
export const heldStep = ({ build, fields, hold, id, key, kind, label, prompt, state }: StacksEmulator.Step) => ({
  id,
  kind,
  name: label ?? key ?? kind,
  key,
  state,
  hold: hold ?? "",
  pipeline: build.pipelineSlug,
  build: build.number,
  prompt,
  fields
})

export const isHeld = ({ hold, state }: StacksEmulator.Step): boolean =>
  hold !== undefined && (state === "waiting" || state === "blocked")

// -----------------------------------------------------------------------------
// The rest
// -----------------------------------------------------------------------------

export const notification = ({ detail, jobUuid, stackKey, timestamp }: StacksEmulator.Notification) => ({
  jobUuid,
  stackKey,
  detail,
  time: DateTime.toEpochMillis(timestamp)
})

export interface IdentifiedRequest {
  readonly id: string
  readonly request: StacksEmulator.LoggedRequest
}

/** Gives requests stable ids: the time of arrival, and an index within that millisecond. */
export const identify = (requests: ReadonlyArray<StacksEmulator.LoggedRequest>): ReadonlyArray<IdentifiedRequest> => {
  let last = Number.NaN
  let index = 0
  return requests.map((request) => {
    const time = DateTime.toEpochMillis(request.time)
    index = time === last ? index + 1 : 0
    last = time
    return { id: `${time}-${index}`, request }
  })
}

/** A request in the list. */
export const requestRow = ({ id, request }: IdentifiedRequest) => ({
  id,
  operation: request.operation ?? request.agentOperation,
  method: request.method,
  path: request.path,
  time: DateTime.toEpochMillis(request.time),
  status: request.status,
  fault: request.fault
})

/** A single request. The log does not contain its authorization. */
export const request = (identified: IdentifiedRequest) => ({
  ...requestRow(identified),
  query: identified.request.query,
  headers: identified.request.headers,
  body: Bodies.shown(identified.request.body),
  response: identified.request.responseBody
})

export const stack = (stack: StacksSchema.RegisteredStack) => ({
  key: stack.key,
  type: stack.type,
  queue: stack.clusterQueueKey,
  state: stack.state,
  lastConnectedOn: stack.lastConnectedOn === null ? undefined : DateTime.toEpochMillis(stack.lastConnectedOn)
})

export const agent = (agent: StacksEmulator.Agent) => ({
  id: agent.id,
  name: agent.name,
  state: agent.state,
  tags: agent.tags,
  version: agent.version,
  jobUuid: agent.jobUuid,
  lastSeen: DateTime.toEpochMillis(agent.lastSeen)
})

export const fault = (fault: StacksEmulator.Fault) => ({
  id: idOf(fault),
  kind: fault._tag,
  operations: fault.operations,
  status: "status" in fault ? fault.status : undefined,
  seconds: seconds("retryAfter" in fault ? fault.retryAfter : "duration" in fault ? fault.duration : undefined),
  skip: fault.skip,
  times: fault.times,
  rate: fault.rate
})

const faultIds = new WeakMap<StacksEmulator.Fault, number>()
let lastFaultId = 0

/** The id of a fault, by which it can be removed. */
export const idOf = (fault: StacksEmulator.Fault): number => {
  const id = faultIds.get(fault) ?? ++lastFaultId
  faultIds.set(fault, id)
  return id
}

const seconds = (duration: Duration.Input | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toSeconds(duration)

const millis = (time: DateTime.DateTime | undefined): number | undefined =>
  time === undefined ? undefined : DateTime.toEpochMillis(time)
