/** What has happened so far in the stacks of a view. */
import type { StackEvent } from "@stacksapi/core/StackEvent"
import type { StacksError } from "@stacksapi/core/StacksError"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Duration from "effect/Duration"
import { Percentiles } from "./percentiles.ts"
import { harmless } from "./text.ts"

/** How a job's time in the stack can end. */
export const outcomes = ["passed", "failed", "by agents", "stack error", "canceled", "lost", "given up"] as const

export type Outcome = (typeof outcomes)[number]

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

export class Tally {
  phase: "starting" | "running" | "draining" | "stopped" = "starting"
  isPaused = false
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

  note(event: StackEvent, now: number): void {
    switch (event._tag) {
      case "Registered":
      case "ReRegistered":
        this.stacks.set(event.stackKey, event.queueKey)
        if (this.phase === "starting") this.phase = "running"
        return
      case "Paused":
      case "Resumed":
        this.isPaused = event._tag === "Paused"
        return
      case "Draining":
        this.phase = "draining"
        return
      case "Stopped":
        this.phase = "stopped"
        return
      case "Reserved":
        this.running.set(event.job.id, { job: event.job, startedAt: undefined })
        return
      case "Started":
        this.running.set(event.job.id, { job: event.job, startedAt: now })
        this.started++
        this.queueToStart.add(Duration.toMillis(event.sinceScheduled))
        return
      case "Finished":
        this.#end(event.job, event.exitStatus === 0 ? "passed" : "failed")
        return
      case "AgentOwned":
        this.#end(event.job, "by agents")
        return
      case "Failed":
        this.#trouble("a job that could not be run", `${nameOf(event.job)}: ${event.detail}`, now)
        this.#end(event.job, "stack error")
        return
      case "Canceled":
        this.#end(event.job, "canceled")
        return
      case "Lost":
        this.#trouble("a lost reservation", `${nameOf(event.job)}: its reservation was lost`, now)
        this.#end(event.job, "lost")
        return
      case "GivenUp":
        this.#trouble(kindOf(event.error), `${nameOf(event.job)}: ${briefly(event.error)}`, now)
        this.#end(event.job, "given up")
        return
      case "Quarantined":
        this.running.delete(event.job.id)
        this.#trouble("a job that could not be started", `${nameOf(event.job)}: ${event.message}`, now)
        return
      case "Troubled":
        this.#trouble(kindOf(event.error), briefly(event.error), now)
        return
    }
  }

  #end(job: ScheduledJob, outcome: Outcome): void {
    this.running.delete(job.id)
    this.ended.set(outcome, (this.ended.get(outcome) ?? 0) + 1)
  }

  #trouble(kind: string, message: string, now: number): void {
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

/** What people call a job: `web#42 test`, or its id. */
export const nameOf = ({ build, id, pipeline, step }: ScheduledJob): string => {
  const parts = [
    pipeline.slug === null ? undefined : `${pipeline.slug}${build.number === null ? "" : `#${build.number}`}`,
    step.key ?? undefined
  ].filter((part) => part !== undefined)
  return harmless(parts.length === 0 ? id : parts.join(" "))
}

/** What went wrong, without the URL: there is no room for that. */
const briefly = (error: StacksError): string => {
  switch (error._tag) {
    case "ErrorResponse":
      return `${error.operation}: ${error.status} ${error.reason.message}`
    case "TransportError":
      return `${error.operation}: ${error.description}`
    case "DecodeError":
    case "InvalidRequest":
      return `${error.operation}: ${error.issue}`
  }
}

/** What of an error is the same each time it happens. */
const kindOf = (error: StacksError): string => {
  switch (error._tag) {
    case "ErrorResponse":
      return `${error.operation}: ${error.status}`
    case "TransportError":
      return `${error.operation}: ${error.kind}`
    case "DecodeError":
    case "InvalidRequest":
      return `${error.operation}: ${error._tag}`
  }
}
