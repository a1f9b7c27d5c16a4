/** Statistics of a view's stacks, reduced from their events. */
import type { StackEvent } from "@stacksapi/core/StackEvent"
import type { CursorStalled, StacksError } from "@stacksapi/core/StacksError"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Duration from "effect/Duration"
import type { ClusterEvent } from "../../ClusterStack.ts"
import { strip } from "../terminal/sanitize.ts"
import { Percentiles } from "./percentiles.ts"
import type { Trouble } from "./troubles.ts"

/** The outcomes that a view counts. */
export const outcomes = [
  "passed",
  "failed",
  "by agents",
  "stack error",
  "canceled",
  "interrupted",
  "lost",
  "released"
] as const

export type Outcome = (typeof outcomes)[number]

/** The outcome of a `RunEnded` whose job has not passed. */
const outcomesOfRuns = {
  Finished: "failed",
  AgentOwned: "by agents",
  Released: "released",
  Failed: "stack error",
  Interrupted: "interrupted"
} as const

export interface Running {
  readonly job: ScheduledJob
  /** In milliseconds; undefined while the job is reserved and not started. */
  readonly startedAt: number | undefined
}

/** A problem that events reported, and when it was last reported. */
export interface Problem {
  readonly at: number
  readonly text: string
  /** How often it was reported in a row. */
  readonly count: number
}

/** How many problems are kept, and how many kinds are counted separately. */
const maxProblems = 8
const maxProblemKinds = 50

/** The state of a stack's queue. */
interface Queue {
  phase: "running" | "draining" | "stopped"
  isPaused: boolean
}

/** The label of a job, if it is known. */
export type LabelOf = (jobUuid: string) => string | undefined

export class Stats {
  readonly #labelOf: LabelOf | undefined
  readonly #queues = new Map<string, Queue>()
  /** The occurrences of the troubles that each watched stack had last. */
  readonly #troubles = new Map<unknown, ReadonlyMap<string, unknown>>()
  /** The key of each stack, and of its queue. */
  readonly stacks = new Map<string, string>()
  /** The jobs that are reserved or running, in the order in which they came. */
  readonly running = new Map<string, Running>()
  /** The jobs that a drain interrupted. */
  readonly #interrupted = new Set<string>()
  readonly ended = new Map<Outcome, number>()
  readonly scheduleToStart = new Percentiles()
  started = 0
  /** Whether a stack has begun: anything but a failed request was reported. */
  hasBegun = false
  /** The last problems, oldest first. */
  problems: ReadonlyArray<Problem> = []
  /** How often each kind of problem was reported. */
  readonly problemCounts = new Map<string, number>()

  constructor(labelOf?: LabelOf) {
    this.#labelOf = labelOf
  }

  /** The name of a job: `web#42 test`, or its id. */
  nameOf(job: ScheduledJob): string {
    return nameOf(job, this.#labelOf?.(job.id))
  }

  get endedCount(): number {
    return Array.from(this.ended.values()).reduce((sum, count) => sum + count, 0)
  }

  /** The phase of all stacks together. Stopped stacks count only if all have stopped. */
  get phase(): "starting" | "running" | "paused" | "draining" | "stopped" {
    const queues = Array.from(this.#queues.values())
    const going = queues.filter(({ phase }) => phase !== "stopped")
    if (going.length === 0) return queues.length === 0 ? "starting" : "stopped"
    if (going.some(({ phase }) => phase === "draining")) return "draining"
    return going.every(({ isPaused }) => isPaused) ? "paused" : "running"
  }

  /** Records an event of a stack. In one view, either all events have a queue key or none has. */
  record(event: StackEvent, now: number, queueKey = ""): void {
    const queue = this.#queues.get(queueKey)
    this.hasBegun ||= event._tag !== "RequestFailed"
    this.#recordProblem(event, now)
    switch (event._tag) {
      case "Registered":
      case "ReRegistered":
        this.stacks.set(event.stackKey, event.queueKey)
        if (queue === undefined || queue.phase === "stopped") {
          this.#queues.set(queueKey, { phase: "running", isPaused: false })
        }
        return
      case "Paused":
      case "Resumed":
        if (queue !== undefined) queue.isPaused = event._tag === "Paused"
        return
      case "Draining":
        if (queue !== undefined) queue.phase = "draining"
        return
      case "Stopped":
        if (queue !== undefined) queue.phase = "stopped"
        return
      case "Reserved":
        this.running.set(event.job.id, { job: event.job, startedAt: undefined })
        return
      case "Started":
        this.#start(event.job, event.sinceScheduled, now)
        return
      case "Finished":
        this.#end(event.job, event.exitStatus === 0 ? "passed" : "failed")
        return
      case "Interrupted":
        this.#interrupted.add(event.job.id)
        return
      case "AgentOwned":
        this.#end(event.job, this.#interrupted.has(event.job.id) ? "interrupted" : "by agents")
        return
      case "Failed":
        this.#end(event.job, "stack error")
        return
      case "Canceled":
        this.#end(event.job, "canceled")
        return
      case "ReservationLost":
        this.#end(event.job, "lost")
        return
      case "Released":
        this.#end(event.job, "released")
        return
      case "BackedOff":
      case "FinishRejected":
        this.running.delete(event.job.id)
        return
      case "Polled":
      case "RequestFailed":
      case "StartsSuspended":
      case "StartsResumed":
      case "JobIgnored":
      case "NotAdmitted":
      case "NotReserved":
      case "InDoubt":
        return
      default:
        // A compile error for an event that is missing above.
        event satisfies never
    }
  }

  /** Records an event of a process of a cluster. It counts the jobs that run on this process, not those of the queues that it leads. */
  recordClusterEvent(event: ClusterEvent, now: number, queueKey: string): void {
    switch (event._tag) {
      case "RunStarted":
        this.#start(event.job, event.sinceScheduled, now)
        return
      case "RunEnded":
        this.#end(
          event.job,
          event.outcome === "Finished" && event.exitStatus === 0 ? "passed" : outcomesOfRuns[event.outcome]
        )
        return
      case "Registered":
      case "ReRegistered":
      case "Paused":
      case "Resumed":
      case "Stopped":
        this.record(event, now, queueKey)
        return
      default:
        this.#recordProblem(event, now)
    }
  }

  /** Records what keeps a watched stack from taking jobs now, each occurrence once. */
  recordTroubles(watched: unknown, troubles: ReadonlyArray<Trouble>, now: number): void {
    const before = this.#troubles.get(watched)
    for (const { kind, message, occurrence, of } of troubles) {
      if (before?.get(of) !== occurrence) this.#addProblem(kind, message, now)
    }
    this.#troubles.set(watched, new Map(troubles.map(({ occurrence, of }) => [of, occurrence])))
  }

  #start(job: ScheduledJob, sinceScheduled: Duration.Duration, now: number): void {
    this.running.set(job.id, { job, startedAt: now })
    this.started++
    this.scheduleToStart.add(Duration.toMillis(sinceScheduled))
  }

  #end(job: ScheduledJob, outcome: Outcome): void {
    this.running.delete(job.id)
    this.ended.set(outcome, (this.ended.get(outcome) ?? 0) + 1)
  }

  #recordProblem(event: StackEvent, now: number): void {
    // The problem of an interrupted job is that it was interrupted.
    if (event._tag === "Failed" && this.#interrupted.has(event.job.id)) return
    const [kind, message] = problemOf(event, (job) => this.nameOf(job)) ?? []
    if (kind !== undefined && message !== undefined) this.#addProblem(kind, message, now)
  }

  #addProblem(kind: string, message: string, now: number): void {
    const known = this.problemCounts.has(kind) || this.problemCounts.size < maxProblemKinds ? kind : "others"
    this.problemCounts.set(known, (this.problemCounts.get(known) ?? 0) + 1)
    const text = strip(message)
    const last = this.problems.at(-1)
    this.problems =
      last?.text === text
        ? [...this.problems.slice(0, -1), { at: now, text, count: last.count + 1 }]
        : [...this.problems.slice(1 - maxProblems), { at: now, text, count: 1 }]
  }
}

/** The problem that an event reports: its kind, for counting, and its message. */
const problemOf = (
  event: StackEvent,
  nameOf: (job: ScheduledJob) => string
): readonly [kind: string, message: string] | undefined => {
  switch (event._tag) {
    case "Failed":
      return ["a job that could not be run", `${nameOf(event.job)}: ${event.detail}`]
    case "Interrupted":
      return [
        "a job stopped at the end of the shutdown grace",
        `${nameOf(event.job)}: stopped, because it had not ended after ${Duration.format(event.after)}`
      ]
    case "ReservationLost":
      return ["a lost reservation", `${nameOf(event.job)}: its reservation was lost`]
    case "FinishRejected":
      return [kindOf(event.error), `${nameOf(event.job)}: ${messageOf(event.error)}`]
    case "BackedOff":
      return ["a job that could not be started", `${nameOf(event.job)}: ${event.message}`]
    case "RequestFailed":
      return [kindOf(event.error), messageOf(event.error)]
    case "StartsSuspended":
      return ["suspended starts", `starts are suspended for ${Duration.format(event.delay)}: ${event.message}`]
    case "JobIgnored":
      return ["an ignored job", `${event.jobUuid} is ignored: ${event.reason}`]
    case "InDoubt":
      return ["a reservation in doubt", `${nameOf(event.job)}: ${event.reason}`]
    default:
      return undefined
  }
}

const nameOf = ({ build, id, pipeline, step }: ScheduledJob, label: string | undefined): string => {
  const parts = [
    pipeline.slug === null ? undefined : `${pipeline.slug}${build.number === null ? "" : `#${build.number}`}`,
    step.key ?? label
  ].filter((part) => part !== undefined)
  return strip(parts.length === 0 ? id : parts.join(" "))
}

/** The message of an error, without the URL. */
const messageOf = (error: StacksError | CursorStalled): string => {
  switch (error._tag) {
    case "ErrorResponse":
      return `${error.operation}: ${error.status} ${error.reason.message}`
    case "TransportError":
      return `${error.operation}: ${error.description}`
    case "DecodeError":
    case "InvalidRequest":
      return `${error.operation}: ${error.issue}`
    case "CursorStalled":
      return error.message
  }
}

/** The part of an error that is the same for each occurrence. */
const kindOf = (error: StacksError | CursorStalled): string => {
  switch (error._tag) {
    case "ErrorResponse":
      return `${error.operation}: ${error.status}`
    case "TransportError":
      return `${error.operation}: ${error.kind}`
    case "DecodeError":
    case "InvalidRequest":
    case "CursorStalled":
      return `${error.operation}: ${error._tag}`
  }
}
