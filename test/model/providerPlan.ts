/**
 * What a plan says of agents that run elsewhere: which stacks have a provider, what agents do, and what goes wrong with them. A plan
 * with providers is one of `plan.ts`, changed here. All times are seconds, unless their names say otherwise.
 */
import * as SeededRandom from "../support/random.ts"
import { generateBase, type JobPlan, type Plan, type StackPlan, type Step } from "./plan.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** The provider of a stack, and the options of its runner. */
export interface ProviderPlan {
  readonly listInterval: number
  readonly startDeadline: number
  readonly capacityTimeout: number
  readonly maxLifetime?: number | undefined
  readonly cancelGrace?: number | undefined
  readonly createConcurrency: number
  /** The CPUs that the stack may use; without it, it counts no amounts. */
  readonly cpus?: number | undefined
  /** How long a call's way to the provider takes at most, and its response's way back. */
  readonly callMillis: number
  /** How long a new agent is missing in listings. */
  readonly listedAfter: number
  /** Whether agents above the place's size are created and wait there. Otherwise `create` fails. */
  readonly pends: boolean
  readonly hasChanges: boolean
  readonly refreshesTokens: boolean
}

/** What becomes of an agent that is created: it acquires its job, ends before, or makes no progress. */
export type Boot = "works" | "fails" | "hangs"

/** A job's agent. */
export interface AgentPlan {
  readonly cpus: number
  /** One for each time that the agent is created; after that it works. */
  readonly boots: ReadonlyArray<Boot>
  readonly bootTime: number
  readonly takes: number
  readonly exitStatus: number
  /** Whether it ends its job by itself when the job is canceled. */
  readonly obeys: boolean
  /** How long it stays listed after its deletion. */
  readonly deleteTakes: number
}

export type ProviderOperation = "create" | "list" | "delete" | "refreshToken"

/**
 * What happens to calls:
 * - `Unavailable`, `NoCapacity`, `Refused`: they fail, and have no effect.
 * - `LostResponse`: they take effect, and fail with `Unavailable`.
 * - `Stall`, `StallAfter`: they never end, without and with an effect.
 * - `Late`: they fail with `Unavailable`, and take effect after `seconds`.
 */
export interface ProviderFaultPlan {
  readonly kind: "Unavailable" | "NoCapacity" | "Refused" | "LostResponse" | "Stall" | "StallAfter" | "Late"
  readonly operations?: ReadonlyArray<ProviderOperation>
  readonly rate?: number
  readonly times?: number
  readonly seconds?: number
}

export type ProviderAction =
  | { readonly do: "providerFaults"; readonly faults: ReadonlyArray<ProviderFaultPlan> }
  /** How many agents there is room for; any number without `agents`. */
  | { readonly do: "placeSize"; readonly agents?: number }
  /** The machine of a job's agent dies. */
  | { readonly do: "endAgent"; readonly job: string }

export const defaultAgent: AgentPlan = {
  cpus: 1,
  boots: [],
  bootTime: 1,
  takes: 5,
  exitStatus: 0,
  obeys: true,
  deleteTakes: 0
}

// -----------------------------------------------------------------------------
// Generation
// -----------------------------------------------------------------------------

/** The plan of a seed: always the same. Two of five have providers. */
export const generate = (seed: number): Plan => {
  const plan = generateBase(seed)
  const random = SeededRandom.make(seed ^ 0x2545f491)
  return random.chance(0.4) ? withProviders(plan, random) : plan
}

const withProviders = (plan: Plan, random: SeededRandom.SeededRandom): Plan => {
  const seconds = plan.steps.reduce((sum, step) => sum + step.seconds, 0)
  const always = random.below(plan.stacks.length)
  const stacks = plan.stacks.map((stack, index) =>
    index === always || random.chance(0.6)
      ? stackWithProvider(random, stack, seconds / plan.stacks.length, plan.pool !== undefined)
      : stack
  )
  const elsewhere = Array.from(stacks.keys()).filter((index) => stacks[index]?.provider !== undefined)
  const steps = plan.steps.flatMap((step, index) => {
    const changed = withAgents(random, step)
    // The first steps start the stacks.
    const isTroubled = index > stacks.length && random.chance(0.3)
    return isTroubled ? [changed, ...trouble(random, plan, elsewhere, index)] : [changed]
  })
  return { ...plan, stacks, steps }
}

const stackWithProvider = (
  random: SeededRandom.SeededRandom,
  stack: StackPlan,
  seconds: number,
  hasPool: boolean
): StackPlan => {
  // Listings are what such a stack costs.
  const listInterval = Math.max(1, Math.round(seconds / random.between(60, 150)))
  const listedAfter = random.pick([0, 0, 0, 2, 15])
  return {
    ...stack,
    outlivesStack: true,
    onClose: random.chance(0.75) ? "detach" : "drain",
    hasStore: random.chance(0.9),
    provider: {
      listInterval,
      // Longer than the slowest agent takes.
      startDeadline: 3 * listInterval + listedAfter + random.pick([45, 90, 240]),
      capacityTimeout: random.pick([30, 120, 300]),
      ...(random.chance(0.15) && { maxLifetime: random.pick([120, 600]) }),
      ...(random.chance(0.3) && { cancelGrace: random.pick([0, 5, 20]) }),
      createConcurrency: random.pick([1, 2, 8]),
      ...(!hasPool && random.chance(0.5) && { cpus: random.pick([4, 4, 8, 16]) }),
      callMillis: random.pick([0, 0, 100, 900, 4000]),
      listedAfter,
      pends: random.chance(0.4),
      hasChanges: random.chance(0.25),
      refreshesTokens: random.chance(0.4)
    }
  }
}

const withAgents = (random: SeededRandom.SeededRandom, { action, seconds }: Step): Step =>
  action.do === "addJobs"
    ? {
        action: { do: "addJobs", jobs: action.jobs.map((job): JobPlan => ({ ...job, agent: agent(random) })) },
        seconds
      }
    : { action, seconds }

const agent = (random: SeededRandom.SeededRandom): AgentPlan => ({
  cpus: random.pick([1, 1, 2, 4]),
  boots: Array.from({ length: random.pick([0, 1, 2]) }, () =>
    random.weighted([
      ["works", 4],
      ["fails", 1],
      ["hangs", 1]
    ] as const)
  ),
  bootTime: random.pick([0, 1, 5, 30]),
  takes: random.pick([0, 1, 5, 20, 60, 300]),
  exitStatus: random.pick([0, 0, 0, 1, 255]),
  obeys: random.chance(0.8),
  deleteTakes: random.pick([0, 0, 0, 3, 40, 150])
})

/** A thing that happens to agents, and its end where it has one. */
const trouble = (
  random: SeededRandom.SeededRandom,
  plan: Plan,
  elsewhere: ReadonlyArray<number>,
  index: number
): ReadonlyArray<Step> => {
  const pause = () => random.pick([0, 1, 3, 10, 30])
  const kind = random.weighted([
    ["faults", 5],
    ["placeSize", 2],
    ["endAgent", 3],
    ["crashAt", 8]
  ] as const)
  switch (kind) {
    case "faults": {
      const faults = Array.from({ length: random.between(1, 2) }, () => fault(random))
      return [
        { action: { do: "providerFaults", faults }, seconds: random.pick([5, 20, 60, 120, 240]) },
        { action: { do: "providerFaults", faults: [] }, seconds: pause() }
      ]
    }
    case "placeSize":
      return [
        { action: { do: "placeSize", agents: random.pick([0, 1, 2, 5]) }, seconds: random.pick([10, 60, 180]) },
        { action: { do: "placeSize" }, seconds: pause() }
      ]
    case "endAgent":
      return [{ action: { do: "endAgent", job: recentJob(random, plan, index) }, seconds: pause() }]
    case "crashAt": {
      const stack = random.pick(elsewhere)
      const step = random.pick([1, 2, 3, 5, 8, 13, 21])
      return [
        { action: { do: "crashAt", stack, step, isProcessed: random.chance(0.5) }, seconds: random.pick([2, 10, 30]) },
        { action: { do: "crash", stack }, seconds: pause() },
        { action: { do: "start", stack }, seconds: pause() }
      ]
    }
  }
}

/** One of the last jobs that the plan has added before a step. */
const recentJob = (random: SeededRandom.SeededRandom, plan: Plan, index: number): string => {
  const jobs = plan.steps
    .slice(0, index)
    .flatMap(({ action }) => (action.do === "addJobs" ? action.jobs.map(({ id }) => id) : []))
  return random.pick(jobs.slice(-8).concat(jobs.length === 0 ? ["job-0"] : []))
}

const fault = (random: SeededRandom.SeededRandom): ProviderFaultPlan => {
  const kind = random.weighted<ProviderFaultPlan["kind"]>([
    ["Unavailable", 4],
    ["NoCapacity", 2],
    ["Refused", 1],
    ["LostResponse", 4],
    ["Stall", 2],
    ["StallAfter", 2],
    ["Late", 2]
  ])
  const limits = random.chance(0.5) ? { rate: random.pick([0.1, 0.4, 1]) } : { times: random.pick([1, 2, 5]) }
  const operation = random.pick<ProviderOperation>(["create", "create", "list", "delete", "refreshToken"])
  switch (kind) {
    case "NoCapacity":
    case "Refused":
      return { kind, operations: ["create"], ...limits }
    case "Late":
      // A deletion that took effect later would be of another agent with the same name.
      return { kind, operations: ["create"], seconds: random.pick([1, 10, 90]), ...limits }
    default:
      return { kind, ...(random.chance(0.7) && { operations: [operation] }), ...limits }
  }
}
