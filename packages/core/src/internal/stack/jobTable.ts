/**
 * The jobs that a stack has asked the service to reserve, each in one stage. This is the only place with the state of a job.
 *
 *     Reserving ─┬─────────────────> Reserved ──> Starting ──> Running ─┬──────────────> Finishing ──> FinishDelayed
 *                ├─> ReservingAgain ────^            ^                  ├─> Stopping ──────^
 *                └─> Unconfirmed ───────^            └─── BackingOff <──┘
 *
 * - Every stage can be followed by `Settled`, for example when the job is canceled.
 * - Every stage before `Finishing` can be followed by `Releasing`, which is followed by `Settled`.
 * - `ReservingAgain` and `Unconfirmed` are followed by `Reserved`. A job in either stage is in doubt.
 *
 * {@link transitions} is the complete list. A listed job that the stack has not tried to reserve is in `PendingJobs` instead. A settled
 * job leaves the table.
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
 * - `ReservingAgain`: that request had no response or a 5xx, or the reservation may have lapsed. The stack reserves the job again. The job
 *   keeps its slot.
 * - `Unconfirmed`: the response did not mention the job or did not decode, or a request for this job alone failed. The stack reserves the
 *   job again. The job has no slot. On entering this stage the stack emits the event `InDoubt`.
 * - `Reserved`: reserved, and waits for its start.
 * - `BackingOff`: reserved; it could not be started, and waits for its next start.
 * - `Starting`: has a slot; its state is checked before its runner starts.
 * - `Running`: its runner runs.
 * - `Stopping`: its runner was told to stop.
 * - `Finishing`: its runner has ended; the first request that finishes it is under way.
 * - `FinishDelayed`: that request failed, and the stack repeats it until the service accepts it. Or the job has no outcome: its runner
 *   returned `AgentOwned`, and the stack can't read whether an agent has the job.
 * - `Releasing`: the stack gives it back to the queue.
 * - `Settled`: nothing is left to do.
 */
export type StageName =
  | "Reserving"
  | "ReservingAgain"
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

/** The stages that may follow each stage. */
export const transitions: { readonly [S in StageName]: ReadonlySet<StageName> } = {
  Reserving: new Set(["Reserved", "ReservingAgain", "Unconfirmed", "Releasing", "Settled"]),
  ReservingAgain: new Set(["Reserved", "Unconfirmed", "Starting", "Releasing", "Settled"]),
  Unconfirmed: new Set(["Reserved", "Releasing", "Settled"]),
  Reserved: new Set(["Starting", "ReservingAgain", "Releasing", "Settled"]),
  BackingOff: new Set(["Starting", "ReservingAgain", "Releasing", "Settled"]),
  Starting: new Set(["Running", "Reserved", "BackingOff", "ReservingAgain", "Releasing", "Settled"]),
  Running: new Set(["Stopping", "Finishing", "BackingOff", "Releasing", "Settled"]),
  Stopping: new Set(["Finishing", "Releasing", "Settled"]),
  Finishing: new Set(["FinishDelayed", "Settled"]),
  FinishDelayed: new Set(["Settled"]),
  Releasing: new Set(["Settled"]),
  Settled: new Set()
}

const slotStages: ReadonlyArray<StageName> = [
  "Reserving",
  "ReservingAgain",
  "Starting",
  "Running",
  "Stopping",
  "Finishing"
]
const renewedStages: ReadonlyArray<StageName> = [
  "Reserved",
  "BackingOff",
  "Starting",
  "Running",
  "Stopping",
  "Finishing",
  "FinishDelayed"
]

/** A running runner of a job. */
export interface Run {
  readonly stopRequested: Deferred.Deferred<StopReason>
  /** Done when the run must end: the runner has ended, or the stack interrupts it now. */
  readonly endRun: Deferred.Deferred<void>
  /** Why the runner must stop; undefined if it need not. */
  stopReason: StopReason | undefined
  /** The job's state that caused the stop. */
  stopState: JobState | undefined
  /** Whether the state has shown that an agent has the job. */
  hasAgent: boolean
}

/** A job of the table. Times are monotonic milliseconds. */
export interface JobRecord {
  readonly job: ScheduledJob
  readonly stage: StageName
  /** Whether an earlier process has saved the job. */
  readonly isRecovered: boolean
  /** The amounts that the job takes while it holds a slot. */
  readonly requests: Amounts
  /** When the last request that may have reserved the job was sent, and when its reservation was last confirmed. */
  requestedAt: number
  confirmedAt: number
  /** Whether this process has reserved it. */
  wasReserved: boolean
  /** How often a response did not mention the job, and when the stack asks again. */
  doubts: number
  retryAt: number
  /** Whether a slot is kept for it while it is `Reserved` or `BackingOff`. */
  keepsSlot: boolean
  /** Whether its reservation is renewed. False once an agent has the job. */
  isRenewed: boolean
  /** How many starts in a row have failed, since when the host is the cause, and when the next start is. */
  failures: number
  hostTroubleSince: number | undefined
  startAt: number
  /** Whether requests fail because of this job while they succeed for others. */
  isOffender: boolean
  /** How the job ended, after its runner has ended. */
  outcome: SavedOutcome | undefined
  /** Set while its runner runs. */
  run: Run | undefined
  /** The fiber of the job, from its start to its end. */
  fiber: Fiber.Fiber<unknown> | undefined
  /** The span of the request that reserved it. */
  reserveSpan: ReserveSpan
}

/** An undeclared transition, which is a bug in the stack. */
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
    stage: "Reserving" | "ReservingAgain" | "FinishDelayed",
    requests: Amounts = none,
    isRecovered = false
  ): JobRecord {
    if (this.#records.has(job.id)) throw invalid(job.id, this.stageOf(job.id), stage)
    const record: JobRecord = {
      job,
      stage,
      isRecovered,
      requests,
      requestedAt: Number.NEGATIVE_INFINITY,
      confirmedAt: Number.NEGATIVE_INFINITY,
      wasReserved: false,
      doubts: 0,
      retryAt: Number.NEGATIVE_INFINITY,
      keepsSlot: true,
      isRenewed: true,
      failures: 0,
      hostTroubleSince: undefined,
      startAt: Number.NEGATIVE_INFINITY,
      isOffender: false,
      outcome: undefined,
      run: undefined,
      fiber: undefined,
      reserveSpan: undefined
    }
    this.#records.set(job.id, record)
    this.#of(stage).add(record)
    return record
  }

  /** Moves a job to another stage. Throws {@link InvalidTransition} if the transition is not declared. */
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

  /** The jobs in some stages, in the order in which they entered their stage. */
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

  /** The jobs whose reservations must be renewed. */
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
