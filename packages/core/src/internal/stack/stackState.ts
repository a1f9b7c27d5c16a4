/** The state that the stages of a stack share: its dependencies, its job table, and what it knows about its queue. */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import type * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as JobRunner from "../../JobRunner.ts"
import type * as JobStore from "../../JobStore.ts"
import type * as Notifications from "../../Notifications.ts"
import type { Membership } from "../../SlotPool.ts"
import type { Status } from "../../Stack.ts"
import type { StackEvent } from "../../StackEvent.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import type { ScheduledJob } from "../../StacksSchema.ts"
import * as Amounts from "../amounts.ts"
import type { ServiceClock } from "../client/serviceClock.ts"
import { monotonicMillis } from "../monotonicMillis.ts"
import type { Admission } from "./admission.ts"
import { type Filtered, none as noFiltered } from "./filtered.ts"
import { Backoff } from "./jobBackoff.ts"
import { holdsSlot, type JobRecord, JobTable, type StageName } from "./jobTable.ts"
import { PendingJobs } from "./pendingJobs.ts"
import type { Registration } from "./registration.ts"
import type { ServiceMonitor } from "./serviceMonitor.ts"
import type { Settings } from "./settings.ts"
import type { StartBreaker } from "./startBreaker.ts"
import type { StateReader } from "./stateReader.ts"
import type { Tokens } from "./tokens.ts"

/** Why a stack ends by itself. */
export type StackFailure = StacksError

/** The services that the stages use. */
export interface Dependencies {
  readonly settings: Settings
  /** The client whose requests the {@link ServiceMonitor} sees. */
  readonly client: StacksClient.Service
  readonly runner: JobRunner.Service
  /** Undefined if jobs are not saved. */
  readonly store: JobStore.Service | undefined
  readonly registration: Registration
  readonly notifications: Notifications.Service
  readonly monitor: ServiceMonitor
  readonly breaker: StartBreaker
  readonly states: StateReader
  readonly tokens: Tokens
  readonly admission: Admission
  readonly emit: (event: StackEvent) => Effect.Effect<void>
  readonly events: Stream.Stream<StackEvent>
  readonly clock: Clock.Clock
  readonly serviceClock: ServiceClock
  /** The context with which the stack was made. */
  readonly context: Context.Context<StacksClient.StacksClient>
  /** Ends with the stack. */
  readonly scope: Scope.Scope
}

/** The latches through which the loops wake each other. */
export interface Signals {
  /** Open when there may be something to reserve or to start. */
  readonly work: Latch.Latch
  /** Open when the stack could use more pending jobs. */
  readonly demand: Latch.Latch
  /** Open while no reserve request is in flight. */
  readonly reserveIdle: Latch.Latch
  /** Open while no renewal is in flight. */
  readonly renewIdle: Latch.Latch
  /** Open while the table is empty. */
  readonly drained: Latch.Latch
  /** Done when the stack stops waiting for a reserve request. */
  readonly abortReserve: Deferred.Deferred<void>
  /** Fails when the stack can't continue. */
  readonly failure: Deferred.Deferred<never, StackFailure>
  /** Done when the queue is empty and the stack has no jobs. */
  readonly idle: Deferred.Deferred<void>
}

const isWaiting = (stage: StageName): boolean => stage === "Reserved" || stage === "BackingOff"

/** How many keys of reports are remembered. */
const maxRemembered = 10_000

export class StackState {
  readonly dependencies: Dependencies
  readonly signals: Signals
  readonly table = new JobTable()
  readonly pending = new PendingJobs()
  /** The delays of jobs that could not be reserved. */
  readonly backoff = new Backoff()
  /** The delays of jobs that this stack has released. */
  readonly released = new Backoff()
  /** When jobs left the table, oldest first. A poll that began earlier may still list them. */
  readonly recentlySettled = new Map<string, number>()
  phase: Status["phase"] = "running"
  isPaused = false
  /** Whether the queue has been read. Until then it is unknown whether it is paused. */
  hasPolled = false
  lastPolledAt: DateTime.Utc | undefined
  /** The same in monotonic milliseconds. */
  polledAt: number | undefined
  /** The jobs that the last poll listed and the stack does not take. */
  filtered: Filtered = noFiltered
  maxInFlight: number
  /** When a job last left the table. */
  lastSettledAt = Number.NEGATIVE_INFINITY
  /** Nothing is reserved before this time, because the service failed or asked to wait. */
  reserveBackoffUntil = Number.NEGATIVE_INFINITY
  /** The amounts of jobs that are about to be reserved: they have slots, but are not in the table yet. */
  readonly reservingAmounts = new Map<string, Amounts.Amounts>()
  poolMembership: Membership = { take: (count) => count, update: () => {}, room: () => Amounts.unlimited }
  readonly #reported = new Set<string>()

  constructor(dependencies: Dependencies, signals: Signals) {
    this.dependencies = dependencies
    this.signals = signals
    this.maxInFlight = dependencies.settings.maxInFlight
  }

  /** Monotonic milliseconds. */
  now(): number {
    return monotonicMillis(this.dependencies.clock)
  }

  /** The service's time, in milliseconds. */
  serviceNow(): number {
    const { clock, serviceClock } = this.dependencies
    return serviceClock.now(clock)
  }

  /** The jobs that have started and hold a slot. */
  inFlight(): ReadonlyArray<JobRecord> {
    return this.table.in("Starting", "Running", "Stopping", "Finishing")
  }

  /** The number of slots that the stack may use. */
  limit(): number {
    return Math.min(this.maxInFlight, this.dependencies.settings.pool?.size() ?? Number.POSITIVE_INFINITY)
  }

  /** The number of the stack's free slots. */
  freeSlots(): number {
    return this.maxInFlight - this.table.slots
  }

  /** The number of slots that are kept for jobs that wait for their start. */
  keptSlots(): number {
    let kept = 0
    for (const { keepsSlot } of this.table.in("Reserved", "BackingOff")) if (keepsSlot) kept++
    return kept
  }

  /** How many jobs have ended, and wait until the service accepts their finish. */
  unfinished(): number {
    return this.table.in("FinishDelayed").filter(({ outcome }) => outcome !== undefined).length
  }

  /** The amounts of jobs that hold a slot or for which one is kept. */
  heldAmounts(): Amounts.Amounts {
    if (this.dependencies.settings.requests === undefined) return Amounts.none
    const holding = this.table
      .all()
      .filter(({ keepsSlot, stage }) => holdsSlot(stage) || (keepsSlot && isWaiting(stage)))
    return Amounts.sum([...holding.map(({ requests }) => requests), ...this.reservingAmounts.values()])
  }

  /** The number of slots that are neither taken nor kept. */
  room(): number {
    return this.freeSlots() - this.keptSlots()
  }

  /** Adds a job to the table. */
  add(job: ScheduledJob, stage: "Reserving" | "ReservingAgain" | "FinishDelayed", isRecovered = false): JobRecord {
    this.signals.drained.closeUnsafe()
    // The amounts with which the job was selected. A job of an earlier process was not.
    const requests = this.reservingAmounts.get(job.id) ?? this.dependencies.admission.amountsOf(job)
    return this.table.add(job, stage, requests, isRecovered)
  }

  /** Removes a job from the table. A poll that began earlier may still list it. */
  remove(record: JobRecord): void {
    this.table.move(record, "Settled")
    this.lastSettledAt = this.now()
    this.recentlySettled.delete(record.job.id)
    this.recentlySettled.set(record.job.id, this.lastSettledAt)
  }

  /** Lets a drain continue when the table is empty. */
  openIfDrained(): void {
    if (this.table.size === 0) this.signals.drained.openUnsafe()
  }

  /** Whether a job may start now. */
  mayStart(): boolean {
    return this.phase === "running" && this.hasPolled && !this.isPaused
  }

  /** Whether a listed job may be reserved. */
  mayReserve(job: ScheduledJob): boolean {
    return !(
      this.table.has(job.id) ||
      this.recentlySettled.has(job.id) ||
      this.backoff.has(job.id, this.now()) ||
      this.released.has(job.id, this.now())
    )
  }

  /** Wakes the loops. They may run before this returns, so the state must be consistent. */
  wake(): void {
    this.signals.work.openUnsafe()
    this.signals.demand.openUnsafe()
    this.poolMembership.update()
  }

  /** Whether this is the first report with this key. */
  isFirstReport(what: string): boolean {
    if (this.#reported.has(what)) return false
    this.#reported.add(what)
    for (const oldest of this.#reported) {
      if (this.#reported.size <= maxRemembered) break
      this.#reported.delete(oldest)
    }
    return true
  }
}
