/** The overview of the emulator, which is sent to open pages whenever it changes. */
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Model from "./model.ts"

/** How many stacks, agents and steps are shown. */
const maxShown = 50

/**
 * @param requestsVersion - Grows with every request that arrives or is answered; reading the log for that would cost too much.
 */
export const make = Effect.fnUntraced(function* (emulator: StacksEmulator.Service, requestsVersion: number) {
  const stacks = yield* emulator.stacks
  const agents = yield* emulator.agents
  const faults = yield* emulator.faults
  const notifications = yield* emulator.notifications
  const jobs = yield* emulator.jobs
  const steps = yield* emulator.steps
  const held = steps.filter(Model.isHeld)
  const { byQueue, total, version } = summarize(jobs)
  return {
    operations: Model.operations,
    phases: total,
    queues: (yield* emulator.queues).map(({ key, paused }) => ({
      key,
      paused,
      phases: byQueue.get(key) ?? noneOf()
    })),
    stacks: { total: stacks.length, shown: stacks.slice(-maxShown).map(Model.stack) },
    // The latest and connected ones first: a stack's agents come and go with its jobs.
    agents: {
      total: agents.length,
      shown: agents.toReversed().sort(byPresence).slice(0, maxShown).map(Model.agent)
    },
    // Those that somebody can let through now come first.
    held: {
      total: held.length,
      shown: held
        .toSorted((a, b) => Number(b.state === "blocked") - Number(a.state === "blocked"))
        .slice(0, maxShown)
        .map(Model.heldStep)
    },
    faults: faults.map(Model.fault),
    versions: {
      jobs: steps.reduce((version, { state }) => mix(version, Hash.string(state)), version),
      notifications: notifications.length,
      requests: requestsVersion
    }
  }
})

const byPresence = (a: StacksEmulator.Agent, b: StacksEmulator.Agent): number =>
  Number(b.state === "connected") - Number(a.state === "connected")

type Counts = Record<Model.Phase, number>

const noneOf = (): Counts => ({ waiting: 0, scheduled: 0, reserved: 0, running: 0, passed: 0, failed: 0, canceled: 0 })

/** Counts the jobs by phase, and computes a version that changes when any job's state changes. */
const summarize = (jobs: ReadonlyArray<StacksEmulator.Job>) => {
  const total = noneOf()
  const byQueue = new Map<string, Counts>()
  let version = jobs.length
  for (const job of jobs) {
    const phase = Model.phaseOf(job)
    const counts = byQueue.get(job.queueKey) ?? noneOf()
    byQueue.set(job.queueKey, counts)
    counts[phase]++
    total[phase]++
    version = mix(version, Hash.string(`${job.state} ${phase}`))
    version = mix(version, job.logSize)
    for (const time of [job.reservedUntil, job.startedAt, job.finishedAt]) {
      version = mix(version, time === undefined ? 0 : DateTime.toEpochMillis(time))
    }
  }
  return { total, byQueue, version }
}

/** A step of the FNV hash. */
const mix = (hash: number, value: number): number => Math.imul(hash ^ value, 16_777_619) >>> 0
