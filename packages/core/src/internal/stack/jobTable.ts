/**
 * The jobs that a stack has asked for, each in one stage. Everything that a stack knows about its jobs is here.
 *
 *     Reserving ─┬─> Reserved ──┬─> Starting ──> Running ──┬─> Finishing ──> FinishDelayed ─┐
 *                │      ^       │       ^           │      │        │              │        │
 *                │      │       │       └ BackingOff <─────┤        │              │        │
 *                ├─> InDoubt    │             │            ├─> Stopping ───────────┼────────┤
 *                │      │       │             │            │        │              │        │
 *                └─> Unconfirmed┴─────────────┴────────────┴────────┴─> Releasing ─┴────────┴─> Settled
 *
 * A listed job that the stack has not asked for is not here, but in `PendingJobs`. A settled job leaves the table.
 */
import * as Data from "effect/Data"
import type * as Deferred from "effect/Deferred"
import type * as Fiber from "effect/Fiber"
import type { StopReason } from "../../JobRunner.ts"
import type { SavedOutcome } from "../../JobStore.ts"
import type { JobState, ScheduledJob } from "../../StacksSchema.ts"
import { type Amounts, none } from "../amounts.ts"
import type { ReserveSpan } from "./spans.ts"

/**
 * - `Reserving`: the first request to reserve the job is under way.
 * - `InDoubt`: that request had no usable answer, or the reservation may have lapsed. The job keeps its slot until the stack knows.
 * - `Unconfirmed`: the service answered about other jobs, and not about this one. The stack asks again.
 * - `Reserved`: reserved, and waits to be started.
 * - `BackingOff`: reserved; it could not be started, and waits for another try.
 * - `Starting`: has a slot; its state is checked before its runner starts.
 * - `Running`: its runner runs.
 * - `Stopping`: its end is decided; its runner is told to stop.
 * - `Finishing`: its runner has ended; the first request that finishes it is under way.
 * - `FinishDelayed`: that request failed, and the stack tries again until the service accepts it; or it has no outcome, and waits to
 *   learn whether an agent has the job.
 * - `Releasing`: the stack gives it back to the queue.
 * - `Settled`: nothing is left to do.
 */
export type StageName =
  | "Reserving"
  | "InDoubt"
  | "Unconfirmed"
  | "Reserved"
  | "BackingOff"
  | "Starting"
  | "Running"
  | "Stopping"
  | "Finishing"
  | "FinishDelayed"
  | "Releasing"
  | "Settled"

/** Which stages may follow a stage. */
export const transitions: { readonly [S in StageName]: ReadonlySet<StageName> } = {
  Reserving: new Set(["Reserved", "InDoubt", "Unconfirmed", "Releasing", "Settled"]),
  InDoubt: new Set(["Reserved", "Unconfirmed", "Starting", "Releasing", "Settled"]),
  Unconfirmed: new Set(["Reserved", "Releasing", "Settled"]),
  Reserved: new Set(["Starting", "InDoubt", "Releasing", "Settled"]),
  BackingOff: new Set(["Starting", "InDoubt", "Releasing", "Settled"]),
  Starting: new Set(["Running", "Reserved", "BackingOff", "InDoubt", "Releasing", "Settled"]),
  Running: new Set(["Stopping", "Finishing", "BackingOff", "Releasing", "Settled"]),
  Stopping: new Set(["Finishing", "Releasing", "Settled"]),
  Finishing: new Set(["FinishDelayed", "Settled"]),
  FinishDelayed: new Set(["Settled"]),
  Releasing: new Set(["Settled"]),
  Settled: new Set()
}

const slotStages: ReadonlyArray<StageName> = ["Reserving", "InDoubt", "Starting", "Running", "Stopping", "Finishing"]
const renewedStages: ReadonlyArray<StageName> = [
  "Reserved",
  "BackingOff",
  "Starting",
  "Running",
  "Stopping",
  "Finishing",
  "FinishDelayed"
]

/** A job's runner at work. */
export interface Run {
  readonly stopRequested: Deferred.Deferred<StopReason>
  /** Done when the runner has ended, or has to be interrupted. */
  readonly over: Deferred.Deferred<void>
  /** Why the runner has to stop, where it has. */
  stopReason: StopReason | undefined
  /** The job's state that was the reason. */
  stopState: JobState | undefined
  /** Whether an agent was seen to have the job. */
  hasAgent: boolean
}

/** A job of the table. Times are monotonic milliseconds. */
export interface JobRecord {
  readonly job: ScheduledJob
  readonly stage: StageName
  /** Whether an earlier process has saved the job. */
  readonly isRecovered: boolean
  /** The amounts that it takes while it holds a slot. */
  readonly requests: Amounts
  /** When the last request was sent that may have reserved the job, and when its reservation was last confirmed. */
  askedAt: number
  confirmedAt: number
  /** Whether it has ever been reserved here. */
  wasReserved: boolean
  /** How often the service did not mention the job, and when the stack asks again. */
  doubts: number
  askAt: number
  /** Whether a slot is kept for it while it is `Reserved` or `BackingOff`. */
  keepsSlot: boolean
  /** Whether its reservation is extended. Not so once an agent has the job. */
  isRenewed: boolean
  /** How often it could not be started in a row, since when the host is to blame, and when it is tried again. */
  failures: number
  hostTroubleSince: number | undefined
  startAt: number
  /** Whether requests fail because of this job while they succeed for others. */
  isOffender: boolean
  /** How the job ended, once its runner has. */
  outcome: SavedOutcome | undefined
  /** Set while its runner runs. */
  run: Run | undefined
  /** What works on the job, from its start to its end. */
  fiber: Fiber.Fiber<unknown> | undefined
  /** The request that reserved it, for the trace. */
  reservedIn: ReserveSpan
}

/** An undeclared transition: a mistake in the stack. */
export class InvalidTransition extends Data.TaggedError("InvalidTransition")<{ readonly message: string }> {}

const invalid = (jobUuid: string, from: StageName | undefined, to: StageName) =>
  new InvalidTransition({ message: `Job ${jobUuid} can't go from ${from ?? "nothing"} to ${to}` })

type Writable<T> = { -readonly [K in keyof T]: T[K] }

export class JobTable {
  readonly #records = new Map<string, JobRecord>()
  readonly #stages = new Map<StageName, Set<JobRecord>>()

  /** Adds a job that is about to be reserved, or that an earlier process may have reserved. */
  add(
    job: ScheduledJob,
    stage: "Reserving" | "InDoubt" | "FinishDelayed",
    requests: Amounts = none,
    isRecovered = false
  ): JobRecord {
    if (this.#records.has(job.id)) throw invalid(job.id, this.stageOf(job.id), stage)
    const record: JobRecord = {
      job,
      stage,
      isRecovered,
      requests,
      askedAt: Number.NEGATIVE_INFINITY,
      confirmedAt: Number.NEGATIVE_INFINITY,
      wasReserved: false,
      doubts: 0,
      askAt: Number.NEGATIVE_INFINITY,
      keepsSlot: true,
      isRenewed: true,
      failures: 0,
      hostTroubleSince: undefined,
      startAt: Number.NEGATIVE_INFINITY,
      isOffender: false,
      outcome: undefined,
      run: undefined,
      fiber: undefined,
      reservedIn: undefined
    }
    this.#records.set(job.id, record)
    this.#of(stage).add(record)
    return record
  }

  /** Moves a job to another stage. Throws {@link InvalidTransition} where the two are not declared to follow each other. */
  move(record: JobRecord, to: StageName): void {
    if (this.#records.get(record.job.id) !== record || !transitions[record.stage].has(to)) {
      throw invalid(record.job.id, record.stage, to)
    }
    this.#of(record.stage).delete(record)
    const writable: Writable<JobRecord> = record
    writable.stage = to
    if (to === "Settled") this.#records.delete(record.job.id)
    else this.#of(to).add(record)
  }

  get size(): number {
    return this.#records.size
  }

  get(jobUuid: string): JobRecord | undefined {
    return this.#records.get(jobUuid)
  }

  has(jobUuid: string): boolean {
    return this.#records.has(jobUuid)
  }

  stageOf(jobUuid: string): StageName | undefined {
    return this.#records.get(jobUuid)?.stage
  }

  count(...stages: ReadonlyArray<StageName>): number {
    let sum = 0
    for (const stage of stages) sum += this.#stages.get(stage)?.size ?? 0
    return sum
  }

  /** The jobs in some stages, those that came to a stage first before the others. */
  in(...stages: ReadonlyArray<StageName>): Array<JobRecord> {
    return stages.flatMap((stage) => Array.from(this.#stages.get(stage) ?? []))
  }

  all(): Array<JobRecord> {
    return Array.from(this.#records.values())
  }

  /** How many jobs hold a slot. */
  get slots(): number {
    return this.count(...slotStages)
  }

  /** The jobs whose reservations have to be renewed. */
  renewed(): Array<JobRecord> {
    return this.in(...renewedStages).filter(({ isRenewed }) => isRenewed)
  }

  #of(stage: StageName): Set<JobRecord> {
    const records = this.#stages.get(stage) ?? new Set<JobRecord>()
    this.#stages.set(stage, records)
    return records
  }
}

/** Whether a job in this stage holds a slot. */
export const holdsSlot = (stage: StageName): boolean => slotStages.includes(stage)
