/** The place where agents of providers run, and what the model has seen of each life's provider. `place.ts` lets things happen there. */
import type { AgentProvider } from "@stacksapi/core"
import type { PubSub, Redacted } from "effect"
import * as SeededRandom from "../support/random.ts"
import type { AgentPlan, Boot, ProviderFaultPlan, ProviderOperation } from "./providerPlan.ts"
import type { Agent, JobTrace, Life } from "./world.ts"

/** An agent of the place. Times are milliseconds of the TestClock. */
export interface PlacedAgent {
  readonly name: string
  readonly stackKey: string
  readonly job: JobTrace
  readonly plan: AgentPlan
  readonly boot: Boot
  /** The life that created it. */
  readonly life: Life
  readonly pends: boolean
  readonly createdAt: number
  /** From when it is listed. */
  readonly listedAt: number
  token: Redacted.Redacted
  phase: AgentProvider.Agent["phase"]
  message: string | undefined
  /** Whether there is no room for it. */
  isWaiting: boolean
  /** When it has booted. */
  bootedAt: number
  /** Set when it has acquired its job. */
  worker: Agent | undefined
  acquiredAt: number | undefined
  /** Set when it is being deleted: until when it stays. */
  goneAt: number | undefined
}

export class Place {
  readonly agents = new Map<string, PlacedAgent>()
  readonly random: SeededRandom.SeededRandom
  readonly changes: PubSub.PubSub<PlacedAgent>
  /** The names with which `create` was called, by stack and job. */
  readonly names = new Map<string, string>()
  readonly tokens = new Set<string>()
  /** When agents were gone. */
  readonly goneAt = new Map<string, number>()
  /** How often each agent was created. */
  readonly created = new Map<string, number>()
  /** How many agents there is room for. */
  size = Number.POSITIVE_INFINITY
  faults: Array<{ readonly fault: ProviderFaultPlan; left: number }> = []
  /** Moments are numbered: much may happen at the same time of the TestClock. */
  moment = 0
  /** Since when nothing is in the way of calls and agents. */
  calmSince = 0

  constructor(seed: number, changes: PubSub.PubSub<PlacedAgent>) {
    this.random = SeededRandom.make(seed ^ 0x1b873593)
    this.changes = changes
  }

  /** The agents that take room. */
  get placed(): number {
    let count = 0
    for (const { isWaiting } of this.agents.values()) if (!isWaiting) count++
    return count
  }

  of(stackKey: string): ReadonlyArray<PlacedAgent> {
    return Array.from(this.agents.values()).filter((agent) => agent.stackKey === stackKey)
  }

  /** The fault of a call, if it has one. */
  fault(operation: ProviderOperation): ProviderFaultPlan | undefined {
    for (const entry of this.faults) {
      const { operations, rate = 1 } = entry.fault
      if (entry.left <= 0 || (operations !== undefined && !operations.includes(operation))) continue
      if (rate < 1 && !this.random.chance(rate)) continue
      entry.left--
      return entry.fault
    }
    return undefined
  }
}

/** What was seen of the calls of one life. */
export class ProviderTrace {
  /** When the last listing began; undefined before the first. */
  listedAt: number | undefined
  /** When the last listing with a response began, and the agents in it. */
  seenAt: number | undefined
  seen: ReadonlySet<string> = new Set()
  /** For each agent, at which moment the last listing without it began, and the last call of `create` ended. */
  readonly absent = new Map<string, number>()
  readonly createEnded = new Map<string, number>()
  /** For each job, at which moment its last run started. */
  readonly runStarted = new Map<string, number>()
  creating = 0
  /** Since when every call was answered with `Unavailable`. */
  unavailableSince: number | undefined
  /** The jobs whose agents were refused. */
  readonly refused = new Set<string>()
}

/** Whether a worker has its job still. */
export const isWorking = ({ worker }: PlacedAgent): boolean =>
  worker !== undefined && !worker.isKilled && !worker.isOver
