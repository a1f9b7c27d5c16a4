/** What has happened so far in the stacks of a view. */
import type { StackEvent } from "@stacksapi/core/StackEvent"
import type { CursorStalled, StacksError } from "@stacksapi/core/StacksError"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Duration from "effect/Duration"
import type { ClusterEvent } from "../../ClusterStack.ts"
import { Percentiles } from "./percentiles.ts"
import { harmless } from "./text.ts"

/** How a job's time in the stack can end. */
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

/** What the end of a job on a process of a cluster counts as, if it has not passed. */
const endings = {
  Finished: "failed",
  AgentOwned: "by agents",
  Released: "released",
  Failed: "stack error",
  Interrupted: "interrupted"
} as const

export interface Running {
  readonly job: ScheduledJob
  /** Milliseconds; undefined while it is reserved and not started. */
  readonly startedAt: number | undefined
}

/** Something to know, and when it was last so. */
export interface Note {
  readonly at: number
  readonly text: string
  /** How often, one after the other. */
  readonly count: number
}

/** How many troubles are kept, and how many kinds of them are told apart. */
const maxNotes = 8
const maxKinds = 50

/** How the queue of a stack is doing. */
interface Queue {
  phase: "running" | "draining" | "stopped"
  isPaused: boolean
}

export class Tally {
  readonly #queues = new Map<string, Queue>()
  /** The stacks, and their queues. */
  readonly stacks = new Map<string, string>()
  /** The jobs that are here, the one that came first at the front. */
  readonly running = new Map<string, Running>()
  readonly ended = new Map<Outcome, number>()
  readonly queueToStart = new Percentiles()
  started = 0
  /** The last troubles, oldest first. */
  troubles: ReadonlyArray<Note> = []
  /** How often each kind of trouble was met. */
  readonly kinds = new Map<string, number>()

  get endedCount(): number {
    return Array.from(this.ended.values()).reduce((sum, count) => sum + count, 0)
  }

  /** That of all stacks together; those that have stopped count only where no other is left. */
  get phase(): "starting" | "running" | "paused" | "draining" | "stopped" {
    const queues = Array.from(this.#queues.values())
    const going = queues.filter(({ phase }) => phase !== "stopped")
    if (going.length === 0) return queues.length === 0 ? "starting" : "stopped"
    if (going.some(({ phase }) => phase === "draining")) return "draining"
    return going.every(({ isPaused }) => isPaused) ? "paused" : "running"
  }

  /** Of the stacks of one view either none or all have the key of their queue with their events. */
  note(event: StackEvent, now: number, queueKey = ""): void {
    const queue = this.#queues.get(queueKey)
    this.#troubled(event, now)
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
      case "AgentOwned":
        this.#end(event.job, "by agents")
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
    }
  }

  /** In a cluster jobs are counted where they run; what the leader of their queue tells of them may be of others. */
  noteOfCluster(event: ClusterEvent, now: number, queueKey: string): void {
    switch (event._tag) {
      case "Began":
        this.#start(event.job, event.sinceScheduled, now)
        return
      case "Ended":
        this.#end(event.job, event.outcome === "Finished" && event.exitStatus === 0 ? "passed" : endings[event.outcome])
        return
      case "Registered":
      case "ReRegistered":
      case "Paused":
      case "Resumed":
      case "Stopped":
        this.note(event, now, queueKey)
        return
      default:
        this.#troubled(event, now)
    }
  }

  #start(job: ScheduledJob, sinceScheduled: Duration.Duration, now: number): void {
    this.running.set(job.id, { job, startedAt: now })
    this.started++
    this.queueToStart.add(Duration.toMillis(sinceScheduled))
  }

  #end(job: ScheduledJob, outcome: Outcome): void {
    this.running.delete(job.id)
    this.ended.set(outcome, (this.ended.get(outcome) ?? 0) + 1)
  }

  #troubled(event: StackEvent, now: number): void {
    const [kind, message] = troubleOf(event) ?? []
    if (kind === undefined || message === undefined) return
    const known = this.kinds.has(kind) || this.kinds.size < maxKinds ? kind : "others"
    this.kinds.set(known, (this.kinds.get(known) ?? 0) + 1)
    const text = harmless(message)
    const last = this.troubles.at(-1)
    this.troubles =
      last?.text === text
        ? [...this.troubles.slice(0, -1), { at: now, text, count: last.count + 1 }]
        : [...this.troubles.slice(1 - maxNotes), { at: now, text, count: 1 }]
  }
}

/** The kind of trouble that an event tells of, and what it is. */
const troubleOf = (event: StackEvent): readonly [kind: string, message: string] | undefined => {
  switch (event._tag) {
    case "Failed":
      return ["a job that could not be run", `${nameOf(event.job)}: ${event.detail}`]
    case "ReservationLost":
      return ["a lost reservation", `${nameOf(event.job)}: its reservation was lost`]
    case "FinishRejected":
      return [kindOf(event.error), `${nameOf(event.job)}: ${briefly(event.error)}`]
    case "BackedOff":
      return ["a job that could not be started", `${nameOf(event.job)}: ${event.message}`]
    case "RequestFailed":
      return [kindOf(event.error), briefly(event.error)]
    case "StartsSuspended":
      return ["starts that are suspended", `starts are suspended for ${Duration.format(event.delay)}: ${event.message}`]
    case "JobIgnored":
      return ["a job that is left alone", `${event.jobUuid} is left alone: ${event.reason}`]
    case "InDoubt":
      return ["a reservation in doubt", `${nameOf(event.job)}: ${event.reason}`]
    default:
      return undefined
  }
}

/** What people call a job: `web#42 test`, or its id. */
export const nameOf = ({ build, id, pipeline, step }: ScheduledJob): string => {
  const parts = [
    pipeline.slug === null ? undefined : `${pipeline.slug}${build.number === null ? "" : `#${build.number}`}`,
    step.key ?? undefined
  ].filter((part) => part !== undefined)
  return harmless(parts.length === 0 ? id : parts.join(" "))
}

/** What went wrong, without the URL: there is no room for that. */
const briefly = (error: StacksError | CursorStalled): string => {
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

/** What of an error is the same each time it happens. */
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
