/**
 * A world: the emulated service, the processes in which stacks live, their jobs and agents, and what the model has seen of them.
 * `run.ts` lets time pass in it, `network.ts` is between the stacks and the service, `invariants.ts` says what must hold.
 */
import { type JobRunner, JobStore, type SlotPool, type Stack, type StackEvent, type StacksApi } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, type Context, type Deferred, Effect, type Fiber, type Metric, PubSub, type Scope } from "effect"
import { HttpClient } from "effect/http"
import * as SeededRandom from "../support/random.ts"
import { type SkewableClock, skewable } from "../support/skewableClock.ts"
import { Place, type PlacedAgent, ProviderTrace } from "./placeState.ts"
import type { JobPlan, Link, Odd, Plan, StackPlan } from "./plan.ts"

// -----------------------------------------------------------------------------
// Jobs and their runs
// -----------------------------------------------------------------------------

interface Stop {
  readonly reason: JobRunner.StopReason
  readonly at: number
}

/** One run of a job's runner. Times are milliseconds of the TestClock. */
export interface Run {
  readonly job: JobTrace
  readonly life: Life
  readonly startedAt: number
  endedAt: number | undefined
  /** Why it was asked to stop, where it was. */
  stop: Stop | undefined
  wasInterrupted: boolean
  /** With what the stack has to finish the job after this run; undefined where it has nothing to finish. */
  expects: Ending | undefined
  /** Whether the stack has to find out first who has the job. */
  claimsAgent: boolean
  /** What is acquired and not released. */
  resources: number
  /** Whether the job's details or token could not be had. */
  hasFailedLookup: boolean
}

export interface Ending {
  readonly exitStatus: number
  readonly signalReason: string | undefined
}

export interface JobTrace {
  readonly plan: JobPlan
  /** The job as the service has it. */
  view: StacksEmulator.Job
  readonly runs: Array<Run>
  canceledAt: number | undefined
  /** How the service calls it when the job is canceled. */
  canceledAs: "canceled" | "timed out" | "expired"
  /** When the model gave the job to somebody else. */
  stolenAt: number | undefined
  /** When the job's reservation ended last, with a good reason: from then on another run is fair. */
  lostAt: number | undefined
  /** When the job was over, or an agent had it. */
  goneAt: number | undefined
  overAt: number | undefined
  /** Since when it is listed. */
  scheduledSince: number | undefined
  /** Whether the service has refused to finish the job: then it may be finished with `stack_error`. */
  isFinishRefused: boolean
  /** The life that reserved or extended the job last. */
  holder: Life | undefined
}

/** An agent that has acquired a job. */
export interface Agent {
  readonly job: JobTrace
  /** The life that started it; undefined for an agent of somebody else. */
  readonly life: Life | undefined
  endsAt: number
  exitStatus: number
  readonly obeys: boolean
  readonly survives: boolean
  /** Whether its machine is gone: then it ends when the service notices that. */
  isKilled: boolean
  isOver: boolean
  readonly ended: Deferred.Deferred<void>
}

// -----------------------------------------------------------------------------
// Processes
// -----------------------------------------------------------------------------

/** A reserved job as the events of a stack tell it. */
export interface OpenJob {
  readonly since: number
  hasStarted: boolean
  isInterrupted: boolean
  isFinishRejected: boolean
  /** When the job may start again, and its last start must not be before. */
  startsAt: number
}

export interface PendingRequest {
  readonly operation: StacksApi.Operation | undefined
  readonly since: number
}

/** A stack from its start to its end. */
export class Life {
  readonly process: StackProcess
  readonly plan: StackPlan
  readonly number: number
  readonly startedAt: number
  readonly metrics: Context.Service.Shape<typeof Metric.MetricRegistry> = new Map()
  /** False from the crash of the process on. */
  isAlive = true
  scope: Scope.Closeable | undefined
  starting: Fiber.Fiber<unknown, unknown> | undefined
  service: Stack.Service | undefined
  slots: number
  /** When it was told to drain, or to close. */
  drainingSince: number | undefined
  closingSince: number | undefined
  closedAt: number | undefined
  /** Why it could not go on. */
  failure: string | undefined
  /** The jobs that the store had when it started. */
  readonly recovered = new Set<string>()

  // What its events tell.
  readonly counts = new Map<StackEvent.StackEvent["_tag"], number>()
  readonly open = new Map<string, OpenJob>()
  /** Jobs in doubt that it has not reserved before. */
  readonly doubted = new Set<string>()
  /** Jobs that the service reserved, and then refused with a status below 500, which says that it has not. */
  readonly refusedAfterwards = new Set<string>()
  /** Jobs for which it reserved no longer than a second: it gives them back. */
  readonly released = new Map<string, number>()

  // What its runners tell.
  readonly active = new Map<string, Run>()

  /** Jobs whose agents an earlier life has started. */
  readonly inherited = new Set<string>()

  // What the calls of its provider tell.
  readonly provider = new ProviderTrace()

  // What the network tells.
  /** Jobs that it has asked to reserve, and that have not ended since. */
  readonly asked = new Set<string>()
  readonly pending = new Set<PendingRequest>()
  /** Since when every page that arrived said that the queue is paused. */
  pausedSince: number | undefined
  /** The states that arrived. */
  readonly told = new Map<string, { readonly state: string; readonly at: number }>()
  /** Since when an operation is answered with 401 or 403, and nothing else. */
  readonly lockedOutSince = new Map<string, number>()
  longestLockout = 0
  /** Whether the service refused its first registration. */
  isRefusedAtStart = false

  // What the checks remember.
  /** Since when nothing is in its way. */
  calmSince: number | undefined
  /** When it was last certain that all reservations had been renewed in time. */
  solidAt: number
  status: Stack.Status | undefined
  /** Since when it could take a job that it has not seen before. */
  hasRoomSince: number | undefined
  /** The jobs that it has had to do with, and leaves alone perhaps. */
  readonly known = new Set<string>()
  ticks = 0

  constructor(process: StackProcess, number: number, now: number) {
    this.process = process
    this.plan = process.plan
    this.number = number
    this.startedAt = now
    this.slots = process.plan.slots
    this.solidAt = now
  }

  /** Whether it should be working. */
  get isUp(): boolean {
    return (
      this.isAlive &&
      this.service !== undefined &&
      this.failure === undefined &&
      this.drainingSince === undefined &&
      this.closingSince === undefined
    )
  }

  /** Whether it has neither ended nor crashed. */
  get isPresent(): boolean {
    return this.isAlive && this.closedAt === undefined
  }

  get name(): string {
    return `${this.plan.key}#${this.number}`
  }

  count(tag: StackEvent.StackEvent["_tag"]): number {
    return this.counts.get(tag) ?? 0
  }
}

/** A place where a stack lives again and again. */
export class StackProcess {
  readonly index: number
  readonly plan: StackPlan
  readonly clock: SkewableClock
  readonly store: JobStore.Service
  link: Link = "up"
  isHostBroken = false
  life: Life | undefined
  lives = 0
  /** Whether it is to start as soon as its last life has ended. */
  isStartWanted = false
  /** The process dies after so many steps more, before or after the last one takes effect. */
  fuse: { left: number; readonly isProcessed: boolean } | undefined

  constructor(index: number, plan: StackPlan, clock: SkewableClock, store: JobStore.Service) {
    this.index = index
    this.plan = plan
    this.clock = clock
    this.store = store
  }
}

/** Something that has to end in time. */
export interface Deadline {
  readonly what: "drain" | "close"
  readonly life: Life
  readonly since: number
  readonly until: number
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

// -----------------------------------------------------------------------------
// The world
// -----------------------------------------------------------------------------

export interface Violation {
  readonly invariant: string
  readonly message: string
  /** Seconds since the beginning. */
  readonly at: number
}

export class World {
  readonly plan: Plan
  readonly emulator: StacksEmulator.Service
  readonly http: HttpClient.HttpClient
  readonly clock: Clock.Clock
  readonly startedAt: number
  readonly random: SeededRandom.SeededRandom
  readonly processes: ReadonlyArray<StackProcess>
  readonly jobs = new Map<string, JobTrace>()
  readonly agents = new Map<string, Agent>()
  /** Where the agents of providers run. */
  readonly place: Place
  readonly deadlines = new Set<Deadline>()
  pool: SlotPool.SlotPool | undefined
  odd: Array<{ readonly odd: Odd; left: number }> = []
  faults = 0
  /** How many requests there were. */
  requests = 0
  /** The jobs that had slots of the pool at the last look. */
  takenOfPool: ReadonlySet<string> = new Set()
  isPaused = false
  isEnding = false
  /** How many jobs are saved in all stores, at the end. */
  saved = 0
  /** Jobs that spoil the requests that name them, and since when. */
  poisoned = new Set<string>()
  poisonedSince = 0
  /** When they ended to do so. */
  readonly poisonEnds = new Map<string, number>()
  /** Until when something short is in everybody's way. */
  troubledUntil = 0
  violation: Violation | undefined
  readonly log: Array<string> = []
  /** Counts what happens, to find out whether something still does. */
  activity = 0

  constructor(
    plan: Plan,
    emulator: StacksEmulator.Service,
    http: HttpClient.HttpClient,
    clock: Clock.Clock,
    processes: ReadonlyArray<StackProcess>,
    changes: PubSub.PubSub<PlacedAgent>
  ) {
    this.plan = plan
    this.emulator = emulator
    this.http = http
    this.clock = clock
    this.startedAt = clock.currentTimeMillisUnsafe()
    this.random = SeededRandom.make(plan.seed ^ 0x5bd1e995)
    this.processes = processes
    this.place = new Place(plan.seed, changes)
  }

  get now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** Seconds since the beginning. */
  get seconds(): number {
    return (this.now - this.startedAt) / 1000
  }

  get lives(): ReadonlyArray<Life> {
    return this.processes.flatMap(({ life }) => life ?? [])
  }

  /** Whether requests that name the job fail, or failed until a while ago: the stack tries them again after 5 minutes at most. */
  isPoisoned(jobUuid: string): boolean {
    const end = this.poisonEnds.get(jobUuid)
    return this.poisoned.has(jobUuid) || (end !== undefined && this.now - end < 330_000)
  }

  /** Writes what happens into the world's log: what a person reads who looks for a cause. */
  note(text: string): void {
    this.activity++
    this.log.push(`${this.seconds.toFixed(1).padStart(7)} ${text}`)
  }

  /** The first violation counts: what follows may follow from it. */
  violate(invariant: string, message: string): void {
    this.note(`VIOLATION ${invariant}: ${message}`)
    this.violation ??= { invariant, message, at: this.seconds }
  }
}

export const make = Effect.fnUntraced(function* (plan: Plan) {
  const clock = yield* Clock.Clock
  const emulator = yield* StacksEmulator.StacksEmulator
  const http = yield* HttpClient.HttpClient
  const processes: Array<StackProcess> = []
  for (const [index, stack] of plan.stacks.entries()) {
    processes.push(new StackProcess(index, stack, skewable(clock), yield* JobStore.makeMemory))
  }
  return new World(plan, onClock(emulator, clock), http, clock, processes, yield* PubSub.unbounded<PlacedAgent>())
})

/** The emulator on the world's own clock, whichever clock its caller has. */
const onClock = (emulator: StacksEmulator.Service, clock: Clock.Clock): StacksEmulator.Service => {
  const at = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideService(effect, Clock.Clock, clock)
  return {
    ...emulator,
    jobs: at(emulator.jobs),
    acquireJob: (tokenOrJobUuid) => at(emulator.acquireJob(tokenOrJobUuid)),
    completeJob: (jobUuid, exitStatus) => at(emulator.completeJob(jobUuid, exitStatus)),
    cancelJob: (jobUuid) => at(emulator.cancelJob(jobUuid))
  }
}
