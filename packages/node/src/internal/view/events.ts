/** Formats events as JSON for programs, and as lines for people. */
import type { StackEvent } from "@stacksapi/core/StackEvent"
import type { CursorStalled, StacksError } from "@stacksapi/core/StacksError"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import type { ClusterEvent } from "../../ClusterStack.ts"
import type * as JobOutput from "../../JobOutput.ts"
import { strip } from "../terminal/sanitize.ts"
import type { Style } from "../terminal/style.ts"
import { clip, type Line } from "../terminal/text.ts"
import { duration, iso } from "../terminal/times.ts"

// -----------------------------------------------------------------------------
// For programs
// -----------------------------------------------------------------------------

type Json = string | number | boolean | null | ReadonlyArray<string> | { readonly [name: string]: Json }

/** An event as plain JSON: its fields by their own names, times in ISO 8601, durations in milliseconds. */
export const toJson = (
  event: StackEvent | ClusterEvent,
  now: number,
  queueKey?: string
): { readonly [name: string]: Json } => ({
  event: event._tag,
  time: iso(now),
  ...(queueKey !== undefined && { queueKey }),
  ...fieldsOf(event)
})

const fieldsOf = (event: StackEvent | ClusterEvent): { readonly [name: string]: Json } => {
  switch (event._tag) {
    case "Registered":
    case "ReRegistered":
      return { stackKey: event.stackKey, queueKey: event.queueKey }
    case "Polled":
      return { listed: event.listed, startable: event.startable }
    case "Paused":
    case "Resumed":
    case "Stopped":
    case "StartsResumed":
      return {}
    case "StartsSuspended":
      return { delayMillis: Duration.toMillis(event.delay), message: event.message }
    case "JobIgnored":
      return { jobUuid: event.jobUuid, reason: event.reason }
    case "InDoubt":
    case "NotAdmitted":
    case "Released":
      return { job: ofJob(event.job), reason: event.reason }
    case "Interrupted":
      return { job: ofJob(event.job), afterMillis: Duration.toMillis(event.after) }
    case "Draining":
      return { inFlight: event.inFlight }
    case "RequestFailed":
      return { error: ofError(event.error), ...(event.jobUuid !== undefined && { jobUuid: event.jobUuid }) }
    case "Reserved":
    case "NotReserved":
    case "ReservationLost":
      return { job: ofJob(event.job) }
    case "Started":
    case "RunStarted":
      return { job: ofJob(event.job), sinceScheduledMillis: Duration.toMillis(event.sinceScheduled) }
    case "Finished":
      return { job: ofJob(event.job), exitStatus: event.exitStatus, detail: event.detail }
    case "RunEnded":
      return {
        job: ofJob(event.job),
        outcome: event.outcome,
        ...(event.exitStatus !== undefined && { exitStatus: event.exitStatus }),
        ...(event.detail !== undefined && { detail: event.detail })
      }
    case "AgentOwned":
    case "Canceled":
      return { job: ofJob(event.job), state: event.state ?? null }
    case "Failed":
      return { job: ofJob(event.job), detail: event.detail }
    case "FinishRejected":
      return { job: ofJob(event.job), error: ofError(event.error) }
    case "BackedOff":
      return { job: ofJob(event.job), delayMillis: Duration.toMillis(event.delay), message: event.message }
  }
}

const ofJob = (job: ScheduledJob): Json => ({
  id: job.id,
  priority: job.priority,
  agentQueryRules: job.agentQueryRules,
  scheduledAt: DateTime.formatIso(job.scheduledAt),
  runnableAt: job.runnableAt == null ? null : DateTime.formatIso(job.runnableAt),
  pipeline: { slug: job.pipeline.slug, uuid: job.pipeline.uuid },
  build: { uuid: job.build.uuid, number: job.build.number, branch: job.build.branch },
  step: { key: job.step.key }
})

/** Without headers and bodies, which may hold secrets. */
const ofError = (error: StacksError | CursorStalled): Json => ({
  _tag: error._tag,
  message: error.message,
  operation: error.operation,
  ...("method" in error && { method: error.method, url: error.url }),
  isRetryable: error.isRetryable,
  ...("status" in error && { status: error.status }),
  ...(error._tag === "ErrorResponse" && { reason: error.reason._tag }),
  ...(error._tag === "ErrorResponse" &&
    error.retryAfter !== undefined && { retryAfterMillis: Duration.toMillis(error.retryAfter) }),
  ...(error._tag === "TransportError" && { kind: error.kind, mayHaveBeenProcessed: error.mayHaveBeenProcessed })
})

// -----------------------------------------------------------------------------
// For people
// -----------------------------------------------------------------------------

const maxValueWidth = 300

/** `2026-10-01T12:00:00.000Z Finished job=0193… name="web#42 test" exitStatus=1 detail="Exited with 1"` */
export const toLine = (
  event: StackEvent | ClusterEvent,
  now: number,
  nameOf: (job: ScheduledJob) => string,
  queueKey?: string
): Line => {
  const ofQueue = queueKey === undefined ? {} : { queueKey }
  const fields = Object.entries({ ...ofQueue, ...fieldsOf(event) }).map(([name, value]) => {
    if (name === "error" && "error" in event) return `error=${quoted(event.error.message)}`
    if (name === "job" && "job" in event) return `job=${quoted(event.job.id)} name=${quoted(nameOf(event.job))}`
    if (name.endsWith("Millis")) return `${name.slice(0, -6)}=${quoted(duration(Number(value)))}`
    return `${name}=${quoted(String(value))}`
  })
  return [
    { text: `${iso(now)} `, style: "dim" },
    { text: event._tag, style: styleOf(event) },
    { text: fields.map((field) => ` ${field}`).join("") }
  ]
}

/** A line that a job printed, as JSON. */
export const outputToJson = ({ channel, jobUuid, text, time }: JobOutput.Line) => ({
  event: "Output",
  time: DateTime.formatIso(time),
  jobUuid,
  channel,
  text
})

/** `2026-10-01T12:00:00.000Z web#42 test | Compiling` */
export const outputToLine = ({ text, time }: JobOutput.Line, name: string): Line => [
  { text: `${DateTime.formatIso(time)} `, style: "dim" },
  { text: clip(name, maxValueWidth), style: "cyan" },
  { text: ` | ${text}` }
]

const quoted = (text: string): string => {
  const value = clip(strip(text), maxValueWidth)
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
}

const styleOf = (event: StackEvent | ClusterEvent): Style => {
  switch (event._tag) {
    case "Finished":
      return event.exitStatus === 0 ? "green" : "red"
    case "RunEnded":
      return event.outcome === "Interrupted"
        ? "yellow"
        : event.outcome === "Failed" || (event.exitStatus ?? 0) !== 0
          ? "red"
          : "green"
    case "Failed":
    case "FinishRejected":
    case "Interrupted":
    case "StartsSuspended":
      return "red"
    case "RequestFailed":
    case "ReservationLost":
    case "Canceled":
    case "Released":
    case "InDoubt":
    case "NotAdmitted":
    case "JobIgnored":
    case "BackedOff":
    case "Paused":
    case "Draining":
      return "yellow"
    default:
      return "bold"
  }
}
