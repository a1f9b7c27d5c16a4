/** What can go wrong on purpose, and which request it happens to. */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type { Operation } from "../../StacksApi.ts"
import { endpointOf } from "../../StacksApi.ts"
import type { Dice } from "./dice.ts"

interface FaultSelection {
  /** The operations it happens to; every request, also one to an unknown path, where it is left out. */
  readonly operations?: ReadonlyArray<Operation> | undefined
  /** How many matching requests pass before it happens for the first time. Default 0. */
  readonly skip?: number | undefined
  /** How many times it happens. Default: without end. */
  readonly times?: number | undefined
  /** How likely it happens to a matching request, from 0 to 1, by the emulator's seeded dice. Default 1. */
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

/** Decides for each request which fault it meets, if any. */
export interface FaultPlan {
  readonly set: (faults: ReadonlyArray<Fault>) => void
  /** Those that may still strike, in their order. */
  readonly inForce: () => ReadonlyArray<Fault>
  readonly next: (operation: Operation | undefined) => Fault | undefined
}

export const makePlan = (dice: Dice): FaultPlan => {
  let scripts: ReadonlyArray<Script> = []
  return {
    set: (faults) => {
      scripts = faults.map((fault) => ({
        fault,
        operations: fault.operations && new Set(fault.operations.map(endpointOf)),
        toSkip: fault.skip ?? 0,
        left: fault.times ?? Number.POSITIVE_INFINITY
      }))
    },
    inForce: () => scripts.filter(({ left }) => left > 0).map(({ fault }) => fault),
    next: (operation) => scripts.find((script) => strikes(script, operation, dice))?.fault
  }
}

interface Script {
  readonly fault: Fault
  readonly operations: ReadonlySet<Operation> | undefined
  toSkip: number
  left: number
}

const strikes = (script: Script, operation: Operation | undefined, dice: Dice): boolean => {
  const { fault, operations } = script
  if (operations !== undefined && (operation === undefined || !operations.has(operation))) return false
  if (script.left <= 0) return false
  if (script.toSkip > 0) {
    script.toSkip--
    return false
  }
  if (fault.rate !== undefined && dice.next() >= fault.rate) return false
  script.left--
  return true
}
