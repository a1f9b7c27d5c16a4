/** The faults, and the requests that they apply to. */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type { Operation } from "../../StacksApi.ts"
import { endpointOf } from "../../StacksApi.ts"
import type { SeededRandom } from "./seededRandom.ts"

interface FaultSelection {
  /** The operations that it applies to. Default: every request, even to an unknown path. */
  readonly operations?: ReadonlyArray<Operation> | undefined
  /** How many matching requests to skip first. Default 0. */
  readonly skip?: number | undefined
  /** How many times it applies. Default: unlimited. */
  readonly times?: number | undefined
  /** The probability that it applies to a matching request, from 0 to 1. The emulator's seed decides. Default 1. */
  readonly rate?: number | undefined
}

export type Fault = Data.TaggedEnum<{
  Status: FaultSelection & {
    readonly status: number
    readonly body?: unknown
    readonly headers?: Readonly<Record<string, string>> | undefined
    readonly retryAfter?: Duration.Input | undefined
  }
  Html: FaultSelection & { readonly status?: number | undefined }
  Malformed: FaultSelection & { readonly status?: number | undefined; readonly body?: string | undefined }
  Reset: FaultSelection
  Stall: FaultSelection & { readonly duration?: Duration.Input | undefined }
  Truncate: FaultSelection
  LostResponse: FaultSelection
  SlowDown: FaultSelection & { readonly retryAfter: Duration.Input }
}>

export const Fault = Data.taggedEnum<Fault>()

/** Decides which fault applies to each request. */
export interface FaultPlan {
  readonly set: (faults: ReadonlyArray<Fault>) => void
  /** Replaces the faults in force. Those that stay, as the same objects, keep what they have counted. */
  readonly change: (update: (inForce: ReadonlyArray<Fault>) => ReadonlyArray<Fault>) => void
  /** The faults that may still apply, in order. */
  readonly inForce: () => ReadonlyArray<Fault>
  readonly next: (operation: Operation | undefined) => Fault | undefined
}

export const makePlan = (random: SeededRandom): FaultPlan => {
  let rules: ReadonlyArray<FaultRule> = []
  const inForce = () => rules.filter(({ left }) => left > 0).map(({ fault }) => fault)
  return {
    set: (faults) => {
      rules = faults.map(ruleOf)
    },
    change: (update) => {
      const known = new Map(rules.map((rule) => [rule.fault, rule]))
      rules = update(inForce()).map((fault) => known.get(fault) ?? ruleOf(fault))
    },
    inForce,
    next: (operation) => rules.find((rule) => applies(rule, operation, random))?.fault
  }
}

const ruleOf = (fault: Fault): FaultRule => ({
  fault,
  operations: fault.operations && new Set(fault.operations.map(endpointOf)),
  toSkip: fault.skip ?? 0,
  left: fault.times ?? Number.POSITIVE_INFINITY
})

interface FaultRule {
  readonly fault: Fault
  readonly operations: ReadonlySet<Operation> | undefined
  toSkip: number
  left: number
}

const applies = (rule: FaultRule, operation: Operation | undefined, random: SeededRandom): boolean => {
  const { fault, operations } = rule
  if (operations !== undefined && (operation === undefined || !operations.has(operation))) return false
  if (rule.left <= 0) return false
  if (rule.toSkip > 0) {
    rule.toSkip--
    return false
  }
  if (fault.rate !== undefined && random.next() >= fault.rate) return false
  rule.left--
  return true
}
