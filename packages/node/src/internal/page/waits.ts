/** What a job waits for, in words. */
import type * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import type * as StacksSchema from "@stacksapi/core/StacksSchema"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Model from "./model.ts"

export interface Surroundings {
  readonly jobs: ReadonlyArray<StacksEmulator.Job>
  readonly queues: ReadonlyArray<StacksEmulator.Queue>
  readonly stacks: ReadonlyArray<StacksSchema.RegisteredStack>
  readonly now: DateTime.Utc
}

/** A stack that has not polled for longer than this may be gone. */
const polledRecently = Duration.minutes(1)

/** What a job waits for, with the jobs that it waits for; undefined if it waits for nothing. */
export const waits = (job: StacksEmulator.Job, { jobs, now, queues, stacks }: Surroundings) => {
  const text = reasonOf(job, { jobs, now, queues, stacks })
  if (text === undefined) return undefined
  const waitsFor = new Set(job.waitsFor)
  return {
    text,
    jobs: jobs.filter(({ id }) => waitsFor.has(id)).map((other) => ({ id: other.id, label: Model.row(other).label }))
  }
}

const reasonOf = (
  { queueKey, runnableAt, state, waitsFor, ...job }: StacksEmulator.Job,
  { now, queues, stacks }: Surroundings
): string | undefined => {
  if (waitsFor.length > 0) return waitsFor.length === 1 ? "another job" : `${waitsFor.length} other jobs`
  if (state !== "scheduled") return states[state]
  if (runnableAt != null && DateTime.isGreaterThan(runnableAt, now)) {
    return `its time, in ${Duration.format(DateTime.distance(now, runnableAt))}`
  }
  if (queues.some(({ key, paused }) => key === queueKey && paused))
    return `queue ${queueKey} to be resumed: it is paused`
  const ofQueue = stacks.filter(({ clusterQueueKey }) => clusterQueueKey === queueKey)
  if (ofQueue.length === 0) return `a stack of queue ${queueKey}: none is registered`
  const polls = ofQueue.filter(
    ({ lastConnectedOn }) =>
      lastConnectedOn !== null && Duration.isLessThan(DateTime.distance(lastConnectedOn, now), polledRecently)
  )
  if (polls.length === 0) return `a stack of queue ${queueKey} to poll: none has for a minute`
  const rules = job.agentQueryRules.filter((rule) => !rule.startsWith("queue="))
  return rules.length === 0
    ? `a free slot of stack ${polls.map(({ key }) => key).join(" or ")}`
    : `a free slot of a stack whose tags match ${rules.join(", ")}`
}

/** States in which a job waits for something else than a stack. */
const states: Partial<Readonly<Record<StacksEmulator.Job["state"], string>>> = {
  waiting: "other steps",
  blocked: "somebody to unblock a step",
  limiting: "its concurrency group",
  limited: "its concurrency group",
  platform_limiting: "the limits of the organization",
  platform_limited: "the limits of the organization"
}
