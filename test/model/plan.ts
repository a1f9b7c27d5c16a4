/**
 * A plan: a world's settings and what happens in it, step by step. A plan is plain data. A seed generates it, a file can hold it,
 * and whoever looks for the cause of a failure can take steps out of it.
 */
import type { StacksApi } from "@stacksapi/core"
import * as SeededRandom from "../support/random.ts"
import type { AgentPlan, ProviderAction, ProviderPlan } from "./providerPlan.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** What a runner does with a job. Times are seconds. */
export type Behavior =
  /** Ends the job after a time. */
  | { readonly does: "finish"; readonly takes: number; readonly exitStatus: number }
  /** Fails with an error that is not retryable. */
  | { readonly does: "fail"; readonly takes: number }
  /** Dies of a defect. */
  | { readonly does: "die"; readonly takes: number }
  /** Interrupts itself. */
  | { readonly does: "interruptItself"; readonly takes: number }
  /** Fails with a retryable error so many times, then finishes. */
  | { readonly does: "retry"; readonly times: number; readonly takes: number }
  /** Asks for the job's details first. */
  | { readonly does: "useDetails"; readonly takes: number }
  /** Starts an agent, which acquires the job with its token and ends it. */
  | {
      readonly does: "runAgent"
      readonly startsIn: number
      readonly takes: number
      /** Whether the agent ends a job that is canceled by itself, as Buildkite's does. */
      readonly obeys: boolean
      /** Whether the agent lives on when the process of its stack dies. */
      readonly survives: boolean
    }
  /** Says that an agent has the job, though none has. */
  | { readonly does: "claimAgent"; readonly takes: number }
  /** Gives the job back so many times, then finishes. */
  | { readonly does: "release"; readonly times: number; readonly takes: number }
  /** Returns an outcome that can't be sent. */
  | { readonly does: "returnInvalid"; readonly what: "NaN" | "fraction" | "noDetail" | "emptySignalReason" }
  /** Never ends by itself. */
  | { readonly does: "hang" }
  /** Goes on for a time after its interruption. */
  | { readonly does: "resistInterruption"; readonly takes: number; readonly resists: number }
  /** Acquires a resource whose release takes a time, or fails. */
  | {
      readonly does: "useResource"
      readonly takes: number
      readonly releaseTakes: number
      readonly releaseFails: boolean
    }
  /** Ends as soon as it is asked to stop. */
  | { readonly does: "heedStop"; readonly takes: number }
  /** Asks for the job's state and notifies many times. */
  | { readonly does: "talk"; readonly texts: number; readonly takes: number }

export interface JobPlan {
  readonly id: string
  readonly behavior: Behavior
  readonly priority: number
  /** In how many seconds the job may start. */
  readonly runnableIn: number
  readonly rules: ReadonlyArray<string>
  /** What its agent does where a stack with a provider has it. */
  readonly agent?: AgentPlan
}

export interface StackPlan {
  readonly key: string
  readonly slots: number
  readonly pollInterval: number
  readonly stateInterval: number
  readonly reservationExpiry: number
  readonly startTimeout: number
  readonly authGrace: number
  readonly cancelGrace: number
  readonly shutdownGrace: number
  readonly onClose: "drain" | "detach"
  readonly outlivesStack: boolean
  readonly hasStore: boolean
  readonly weight: number
  readonly tags: Readonly<Record<string, string>> | undefined
  /** Its agents run elsewhere, and not with the runners of `Behavior`. */
  readonly provider?: ProviderPlan | undefined
}

export interface FaultPlan {
  readonly _tag: "Status" | "Html" | "Malformed" | "Reset" | "Stall" | "Truncate" | "LostResponse" | "SlowDown"
  readonly operations?: ReadonlyArray<StacksApi.Operation>
  readonly rate?: number
  readonly times?: number
  readonly skip?: number
  readonly status?: number
  /** Seconds. */
  readonly retryAfter?: number
  /** Seconds. */
  readonly duration?: number
}

/** Responses that no service should give, and that some give. They happen `times` times. */
export type Odd =
  /** A reserve response leaves a job out, or all of them. */
  | { readonly kind: "omitReserved"; readonly all: boolean; readonly times: number }
  /** A reserve response spells ids in upper case. */
  | { readonly kind: "respellReserved"; readonly times: number }
  | { readonly kind: "nullList"; readonly list: "reserved" | "not_reserved"; readonly times: number }
  /** A status instead of a response. The service does not see the request. */
  | {
      readonly kind: "status"
      readonly operation: StacksApi.Operation
      readonly status: number
      readonly html: boolean
      readonly times: number
    }
  /** A status instead of the response of a service that has acted. */
  | {
      readonly kind: "statusAfter"
      readonly operation: StacksApi.Operation
      readonly status: number
      readonly times: number
    }
  /** Every request of the operation that names the job fails with the status, for as long as the oddity lasts. */
  | { readonly kind: "poison"; readonly operation: StacksApi.Operation; readonly job: string; readonly status: number }
  /** A page whose cursor is missing or does not advance. */
  | { readonly kind: "oddCursor"; readonly cursor: "missing" | "stuck"; readonly times: number }
  /** A page with a job that does not decode. */
  | { readonly kind: "undecodableJob"; readonly times: number }
  | { readonly kind: "repeatedJob"; readonly times: number }
  /** A list of states without some jobs. */
  | { readonly kind: "omitStates"; readonly times: number }
  /** A list of tokens that names no job at all. */
  | { readonly kind: "omitTokens"; readonly times: number }

export type Action =
  | { readonly do: "wait" }
  | { readonly do: "addJobs"; readonly jobs: ReadonlyArray<JobPlan> }
  | { readonly do: "cancel"; readonly job: string; readonly as: "canceled" | "timed out" | "expired" }
  | { readonly do: "pause"; readonly paused: boolean }
  | { readonly do: "faults"; readonly faults: ReadonlyArray<FaultPlan> }
  | { readonly do: "odd"; readonly odd: ReadonlyArray<Odd> }
  | { readonly do: "forget"; readonly stack: number }
  /** The service gives the job to a stack of somebody else, who ends it after a time. */
  | { readonly do: "steal"; readonly job: string; readonly keeps: number }
  /** An agent of somebody else acquires the job. */
  | { readonly do: "takeByAgent"; readonly job: string; readonly keeps: number }
  /** Moves the wall clock of a stack's process. */
  | { readonly do: "stepClock"; readonly stack: number; readonly seconds: number }
  | { readonly do: "slots"; readonly stack: number; readonly count: number }
  | { readonly do: "poolSize"; readonly count: number }
  | { readonly do: "link"; readonly stack: number; readonly link: Link }
  /** The host of a stack can't start anything, or can again. */
  | { readonly do: "host"; readonly stack: number; readonly broken: boolean }
  | { readonly do: "drain"; readonly stack: number }
  | { readonly do: "close"; readonly stack: number }
  | { readonly do: "crash"; readonly stack: number }
  /** The process dies with one of its next steps: a request, a call of its provider, or a write to its store. */
  | { readonly do: "crashAt"; readonly stack: number; readonly step: number; readonly isProcessed: boolean }
  | { readonly do: "start"; readonly stack: number }
  | ProviderAction

/** The network between a stack and the service. */
export type Link = "up" | "refuses" | "hangs" | "losesResponses"

export interface Step {
  readonly action: Action
  /** How many seconds pass after it. */
  readonly seconds: number
}

export interface Plan {
  readonly seed: number
  /** How often the invariants are checked, in seconds. */
  readonly tick: number
  readonly rateLimits: boolean
  /** The slots of a pool that all stacks share; then they are one process. */
  readonly pool: number | undefined
  readonly stacks: ReadonlyArray<StackPlan>
  readonly steps: ReadonlyArray<Step>
}

// -----------------------------------------------------------------------------
// Generation
// -----------------------------------------------------------------------------

/** A plan without providers: always the same for a seed. */
export const generateBase = (seed: number): Plan => {
  const random = SeededRandom.make(seed)
  const minutes = random.pick([2, 4, 6, 8, 12, 20, 30, 45, 60])
  const stackCount = random.weighted([
    [1, 4],
    [2, 4],
    [3, 2],
    [4, 1]
  ])
  // Requests are what a run costs. The shorter a world, the more often its stacks may poll.
  const pollInterval = Math.max(1, Math.round((minutes * 60 * stackCount) / random.between(100, 250)))
  const hasPool = stackCount > 1 && random.chance(0.25)
  const stacks = Array.from({ length: stackCount }, (_, index) => stackPlan(random, index, minutes * 60, pollInterval))
  return {
    seed,
    tick: Math.max(1, Math.min(5, Math.round(minutes / 8))),
    rateLimits: random.chance(0.3),
    pool: hasPool ? random.between(1, 8) : undefined,
    stacks,
    steps: new Steps(random, stacks, hasPool).make(minutes * 60)
  }
}

const stackPlan = (
  random: SeededRandom.SeededRandom,
  index: number,
  seconds: number,
  pollInterval: number
): StackPlan => {
  const outlivesStack = random.chance(0.2)
  return {
    key: `stack-${index}`,
    slots: random.pick([1, 2, 3, 5, 8, 25]),
    pollInterval: Math.max(1, Math.round(pollInterval * random.pick([0.5, 1, 1, 2]))),
    stateInterval: Math.max(1, Math.round(pollInterval * random.pick([0.5, 1, 2]))),
    reservationExpiry: Math.min(3600, Math.max(60, Math.round(seconds * random.pick([0.1, 0.2, 0.5, 1])))),
    startTimeout: random.pick([20, 60, 300]),
    authGrace: random.pick([60, 300]),
    cancelGrace: random.pick([0, 5, 30]),
    shutdownGrace: random.pick([0, 5, 30, 60]),
    onClose: outlivesStack || random.chance(0.3) ? "detach" : "drain",
    outlivesStack,
    hasStore: outlivesStack || random.chance(0.7),
    weight: random.pick([1, 1, 2]),
    // The first stack takes every job, so that each has somebody to run it.
    tags: index === 0 || random.chance(0.6) ? undefined : { os: random.pick(["linux", "mac"]) }
  }
}

const reserving: ReadonlyArray<StacksApi.Operation> = ["batchReserveJobs"]
const operations: ReadonlyArray<StacksApi.Operation> = [
  "listScheduledJobs",
  "batchReserveJobs",
  "getJob",
  "getJobStates",
  "finishJob",
  "createStackNotifications",
  "issueJobAcquisitionTokens"
]
/** Those whose requests name jobs. */
const aboutJobs = operations.slice(1)

class Steps {
  readonly #random: SeededRandom.SeededRandom
  readonly #stacks: ReadonlyArray<StackPlan>
  readonly #hasPool: boolean
  readonly #steps: Array<Step> = []
  #jobs = 0

  constructor(random: SeededRandom.SeededRandom, stacks: ReadonlyArray<StackPlan>, hasPool: boolean) {
    this.#random = random
    this.#stacks = stacks
    this.#hasPool = hasPool
  }

  make(seconds: number): ReadonlyArray<Step> {
    const random = this.#random
    this.#push({ do: "addJobs", jobs: this.#newJobs(random.between(2, 12)) }, random.between(0, 5))
    for (const stack of this.#stacks.keys()) this.#push({ do: "start", stack }, random.pick([0, 0, 1, 5]))
    const interval = seconds / random.between(6, 24)
    let passed = 0
    while (passed < seconds) {
      const before = this.#steps.length
      this.#trouble(interval)
      for (const step of this.#steps.slice(before)) passed += step.seconds
    }
    return this.#steps
  }

  #push(action: Action, seconds: number): void {
    this.#steps.push({ action, seconds: Math.max(0, Math.round(seconds)) })
  }

  #stack(): number {
    return this.#random.below(this.#stacks.length)
  }

  #job(): string {
    // Recent jobs are the ones that something can still happen to.
    return `job-${Math.max(0, this.#jobs - 1 - this.#random.below(Math.min(this.#jobs, 12)))}`
  }

  #newJobs(count: number): ReadonlyArray<JobPlan> {
    const random = this.#random
    // Now and then a whole crowd does the same.
    const same = random.chance(0.2) ? behavior(random) : undefined
    return Array.from({ length: Math.min(count, maxJobs - this.#jobs) }, () => ({
      id: `job-${this.#jobs++}`,
      behavior: same ?? behavior(random),
      priority: random.pick([0, 0, 0, 1, 5, -1]),
      runnableIn: random.chance(0.1) ? random.between(1, 60) : 0,
      rules: random.chance(0.1) ? [`os=${random.pick(["linux", "mac"])}`] : []
    }))
  }

  /** A thing that happens, and its end where it has one. */
  #trouble(interval: number): void {
    const random = this.#random
    const pause = () => interval * random.pick([0.2, 0.5, 1, 1, 2])
    const kind = random.weighted([
      ["addJobs", 8],
      ["wait", 2],
      ["cancel", 5],
      ["pause", 2],
      ["faults", 7],
      ["outage", 4],
      ["odd", 6],
      ["forget", 2],
      ["steal", 2],
      ["stepClock", 2],
      ["slots", 3],
      ["link", 3],
      ["host", 2],
      ["close", 3],
      ["crash", 3]
    ] as const)
    switch (kind) {
      case "addJobs":
        this.#push({ do: "addJobs", jobs: this.#newJobs(random.between(1, 8)) }, pause())
        return
      case "wait":
        this.#push({ do: "wait" }, pause())
        return
      case "cancel":
        for (let left = random.between(1, 3); left > 0; left--) {
          const as = random.pick(["canceled", "canceled", "timed out", "expired"] as const)
          this.#push({ do: "cancel", job: this.#job(), as }, left === 1 ? pause() : random.between(0, 3))
        }
        return
      case "pause":
        this.#push({ do: "pause", paused: true }, pause())
        if (random.chance(0.9)) this.#push({ do: "pause", paused: false }, pause())
        return
      case "faults":
        this.#push({ do: "faults", faults: Array.from({ length: random.between(1, 3) }, () => fault(random)) }, pause())
        if (random.chance(0.8)) this.#push({ do: "faults", faults: [] }, pause())
        return
      case "outage":
        this.#push({ do: "faults", faults: [outage(random)] }, random.pick([5, 30, 60, 120, 300, 600, 1200]))
        this.#push({ do: "faults", faults: [] }, pause())
        return
      case "odd":
        this.#push({ do: "odd", odd: Array.from({ length: random.between(1, 2) }, () => this.#odd()) }, pause())
        if (random.chance(0.8)) this.#push({ do: "odd", odd: [] }, pause())
        return
      case "forget":
        this.#push({ do: "forget", stack: this.#stack() }, pause())
        return
      case "steal":
        this.#push(
          { do: random.pick(["steal", "takeByAgent"] as const), job: this.#job(), keeps: random.between(5, 120) },
          pause()
        )
        return
      case "stepClock":
        this.#push(
          { do: "stepClock", stack: this.#stack(), seconds: random.pick([-3600, -600, -30, 30, 600, 3600, 86_400]) },
          pause()
        )
        return
      case "slots":
        this.#push(
          this.#hasPool && random.chance(0.5)
            ? { do: "poolSize", count: random.pick([0, 1, 3, 8]) }
            : { do: "slots", stack: this.#stack(), count: random.pick([0, 1, 2, 4, 10]) },
          pause()
        )
        return
      case "link": {
        const stack = this.#stack()
        const link = random.pick(["refuses", "hangs", "losesResponses"] as const)
        this.#push({ do: "link", stack, link }, random.pick([5, 30, 60, 120, 300, 600, 1200]))
        this.#push({ do: "link", stack, link: "up" }, pause())
        return
      }
      case "host": {
        const stack = this.#stack()
        this.#push({ do: "host", stack, broken: true }, random.pick([2, 10, 60, 400]))
        this.#push({ do: "host", stack, broken: false }, pause())
        return
      }
      case "close": {
        const stack = this.#stack()
        if (random.chance(0.3)) this.#push({ do: "drain", stack }, random.between(0, 10))
        this.#push({ do: "close", stack }, pause())
        this.#push({ do: "start", stack }, pause())
        return
      }
      case "crash": {
        const stack = this.#stack()
        this.#push({ do: "crash", stack }, random.pick([0, 1, 10, 60, interval]))
        this.#push({ do: "start", stack }, pause())
      }
    }
  }

  #odd(): Odd {
    const random = this.#random
    const times = random.pick([1, 1, 2, 5])
    const kind = random.weighted([
      ["omitReserved", 3],
      ["respellReserved", 1],
      ["nullList", 1],
      ["status", 5],
      ["statusAfter", 3],
      ["poison", 5],
      ["oddCursor", 1],
      ["undecodableJob", 1],
      ["repeatedJob", 1],
      ["omitStates", 1],
      ["omitTokens", 1]
    ] as const)
    switch (kind) {
      case "omitReserved":
        return { kind, all: random.chance(0.5), times }
      case "nullList":
        return { kind, list: random.pick(["reserved", "not_reserved"]), times }
      case "status":
      case "statusAfter": {
        const operation = random.pick(aboutJobs)
        const status = random.pick([302, 400, 404, 408, 409, 422, 425, 429, 500, 502, 503])
        return kind === "statusAfter"
          ? { kind, operation, status, times }
          : { kind, operation, status, html: random.chance(0.2), times }
      }
      case "poison":
        return {
          kind,
          operation: random.pick([...reserving, ...aboutJobs]),
          job: this.#job(),
          status: random.pick([400, 422, 422, 500, 503])
        }
      case "oddCursor":
        return { kind, cursor: random.pick(["missing", "stuck"]), times }
      default:
        return { kind, times }
    }
  }
}

/** How many jobs a world has at most. */
const maxJobs = 60

const behavior = (random: SeededRandom.SeededRandom): Behavior => {
  const takes = random.pick([0, 0, 1, 5, 20, 60, 300])
  const does = random.weighted([
    ["finish", 8],
    ["fail", 1],
    ["die", 1],
    ["interruptItself", 1],
    ["retry", 2],
    ["useDetails", 3],
    ["runAgent", 6],
    ["claimAgent", 1],
    ["release", 2],
    ["returnInvalid", 1],
    ["hang", 1],
    ["resistInterruption", 1],
    ["useResource", 2],
    ["heedStop", 1],
    ["talk", 1]
  ] as const)
  switch (does) {
    case "finish":
      return { does, takes, exitStatus: random.pick([0, 0, 0, 1, 255, -1]) }
    case "retry":
    case "release":
      return { does, times: random.pick([1, 1, 2, 4]), takes: Math.min(takes, 5) }
    case "runAgent":
      return { does, startsIn: random.pick([0, 1, 10]), takes, obeys: random.chance(0.8), survives: random.chance(0.5) }
    case "returnInvalid":
      return { does, what: random.pick(["NaN", "fraction", "noDetail", "emptySignalReason"]) }
    case "hang":
      return { does }
    case "resistInterruption":
      return { does, takes, resists: random.pick([1, 4]) }
    case "useResource":
      return { does, takes, releaseTakes: random.pick([0, 0, 3]), releaseFails: random.chance(0.2) }
    case "talk":
      return { does, texts: random.pick([1, 10, 120]), takes }
    default:
      return { does, takes }
  }
}

/** One of every kind of fault, at some requests. */
const fault = (random: SeededRandom.SeededRandom): FaultPlan => {
  const tag = random.pick([
    "Status",
    "Status",
    "Html",
    "Malformed",
    "Reset",
    "Stall",
    "Truncate",
    "LostResponse",
    "SlowDown"
  ] as const)
  const selection = {
    ...(random.chance(0.6) && { operations: [random.pick(operations)] }),
    ...(random.chance(0.5) ? { rate: random.pick([0.1, 0.3, 0.6, 1]) } : { times: random.pick([1, 2, 5]) })
  }
  switch (tag) {
    case "Status":
      return authOrStatus(random, selection)
    case "Stall":
      return { _tag: tag, duration: random.pick([1, 7, 20, 45]), ...selection }
    case "SlowDown":
      return { _tag: tag, retryAfter: random.pick([1, 5, 20]), ...selection }
    default:
      return { _tag: tag, ...selection }
  }
}

const authOrStatus = (
  random: SeededRandom.SeededRandom,
  selection: Pick<FaultPlan, "operations" | "rate" | "times">
): FaultPlan => {
  const status = random.pick([401, 403, 408, 409, 425, 429, 500, 502, 503, 503, 504])
  const retryAfter = status >= 429 && random.chance(0.3) ? { retryAfter: random.pick([0, 2, 10]) } : {}
  return { _tag: "Status", status, ...retryAfter, ...selection }
}

/** Nothing works. */
const outage = (random: SeededRandom.SeededRandom): FaultPlan =>
  random.pick<FaultPlan>([
    { _tag: "Status", status: 503 },
    { _tag: "Status", status: 503, retryAfter: 10 },
    { _tag: "Status", status: 429 },
    { _tag: "Html" },
    { _tag: "Malformed" },
    { _tag: "Reset" },
    { _tag: "Stall" },
    { _tag: "Stall", duration: 50 },
    { _tag: "Truncate" },
    { _tag: "LostResponse" }
  ])
