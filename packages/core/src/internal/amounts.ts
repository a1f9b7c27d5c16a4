/**
 * Amounts that jobs take of a shared capacity, such as CPUs, by name. An amount that is missing in the capacity is unlimited.
 *
 * There are no counters. The free part is computed from the jobs that hold amounts, so no end of a job can leak any.
 */
import * as Predicate from "effect/Predicate"
import type { AmountsOfMember, Room } from "../SlotPool.ts"
import { shown } from "./shown.ts"

export type Amounts = Readonly<Record<string, number>>

export const none: Amounts = {}

/** A room in which every job fits. */
export const unlimited: Room = {
  exceeded: () => undefined,
  fits: () => true,
  isOverdrawn: () => false,
  take: () => {},
  signature: ""
}

/** The sum of the amounts that jobs hold. */
export const sum = (all: Iterable<Amounts>): Amounts => {
  const total = new Map<string, number>()
  for (const amounts of all) {
    for (const [name, amount] of Object.entries(amounts)) total.set(name, (total.get(name) ?? 0) + amount)
  }
  return Object.fromEntries(total)
}

/** How much of an amount there is. A name may be any text, also that of a member of every object, such as `constructor`. */
export const of = (amounts: Amounts | undefined, name: string): number =>
  amounts !== undefined && Object.hasOwn(amounts, name) ? (amounts[name] ?? 0) : 0

/** The free part of a capacity with these members. */
export const room = (capacity: Amounts, members: Iterable<AmountsOfMember>): Room => {
  const names = Object.keys(capacity)
  if (names.length === 0) return unlimited
  const free = new Map(Object.entries(capacity))
  let aged: ReturnType<AmountsOfMember["aged"]>
  const subtract = (amounts: Amounts, sign: 1 | -1 = 1) => {
    for (const [name, amount] of Object.entries(amounts)) {
      const left = free.get(name)
      if (left !== undefined) free.set(name, left - sign * amount)
    }
  }
  for (const member of members) {
    subtract(member.held())
    const job = member.aged()
    if (job !== undefined && (aged === undefined || job.since < aged.since)) aged = job
  }
  const signature = JSON.stringify([...free.values()])
  const overdrawn = new Set(names.filter((name) => (free.get(name) ?? 0) < -1e-9))
  if (aged !== undefined) subtract(aged.requests)
  const isKept = (jobUuid: string) => aged?.jobUuid === jobUuid
  return {
    signature,
    exceeded: (requests) => {
      const name = names.find((name) => of(requests, name) > of(capacity, name))
      return name === undefined ? undefined : `needs ${requests[name]} of ${name}; the capacity is ${capacity[name]}`
    },
    fits: (jobUuid, requests) =>
      Object.entries(requests).every(([name, amount]) => {
        const left = free.get(name)
        if (left === undefined || amount <= 0) return true
        const kept = isKept(jobUuid) ? of(aged?.requests, name) : 0
        // Sums of fractions have rounding errors.
        return amount <= left + kept + 1e-9
      }),
    isOverdrawn: (requests) =>
      overdrawn.size > 0 && Object.entries(requests).some(([name, amount]) => amount > 0 && overdrawn.has(name)),
    take: (jobUuid, requests) => {
      if (isKept(jobUuid) && aged !== undefined) {
        subtract(aged.requests, -1)
        aged = undefined
      }
      subtract(requests)
    }
  }
}

/** What is wrong with amounts; undefined if they are valid. */
export const issueOf = (amounts: unknown): string | undefined => {
  if (!Predicate.isObject(amounts)) return `must be a record of numbers, not ${shown(amounts)}`
  const wrong = Object.entries(amounts).find(([, amount]) => !(Predicate.isNumber(amount) && amount >= 0))
  return wrong === undefined ? undefined : `must have numbers of 0 or more; ${wrong[0]} is ${shown(wrong[1])}`
}
