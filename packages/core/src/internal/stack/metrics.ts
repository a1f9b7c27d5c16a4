/** The metrics of a stack. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Predicate from "effect/Predicate"
import type { StackEvent } from "../../StackEvent.ts"
import type { Operation } from "../../StacksApi.ts"
import type { StacksError } from "../../StacksError.ts"
import * as Amounts from "../amounts.ts"
import type { Meter } from "../meter.ts"
import { monotonicMillis } from "../monotonicMillis.ts"
import * as Filtered from "./filtered.ts"

/** Labels: `outcome`. */
const jobs = Metric.counter("stacksapi_jobs", { description: "Jobs by outcome", incremental: true })

const outcomes = {
  Finished: Metric.withAttributes(jobs, { outcome: "Finished" }),
  AgentOwned: Metric.withAttributes(jobs, { outcome: "AgentOwned" }),
  Failed: Metric.withAttributes(jobs, { outcome: "Failed" }),
  Canceled: Metric.withAttributes(jobs, { outcome: "Canceled" }),
  ReservationLost: Metric.withAttributes(jobs, { outcome: "ReservationLost" }),
  FinishRejected: Metric.withAttributes(jobs, { outcome: "FinishRejected" }),
  Released: Metric.withAttributes(jobs, { outcome: "Released" }),
  JobIgnored: Metric.withAttributes(jobs, { outcome: "JobIgnored" }),
  InDoubt: Metric.withAttributes(jobs, { outcome: "InDoubt" }),
  NotAdmitted: Metric.withAttributes(jobs, { outcome: "NotAdmitted" }),
  NotReserved: Metric.withAttributes(jobs, { outcome: "NotReserved" }),
  BackedOff: Metric.withAttributes(jobs, { outcome: "BackedOff" })
}

const reserved = Metric.counter("stacksapi_jobs_reserved", {
  description: "Reserved jobs",
  incremental: true
})

const started = Metric.counter("stacksapi_jobs_started", { description: "Started jobs", incremental: true })

const scheduleToStart = Metric.histogram("stacksapi_schedule_to_start_seconds", {
  description: "Time from a job's scheduling, or its runnable_at if that is later, to its start",
  boundaries: [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600]
})

const slotsAvailable = Metric.gauge("stacksapi_slots_available", { description: "Free slots" })

/** Labels: `queue`. */
const jobsInFlight = Metric.gauge("stacksapi_jobs_in_flight", { description: "Jobs that hold a slot" })

/** Labels: `amount`, `queue`. */
const amountsInUse = Metric.gauge("stacksapi_amounts_in_use", {
  description: "How much of an amount of the capacity jobs hold"
})

/** Labels: `amount`. */
const amountsCapacity = Metric.gauge("stacksapi_amounts_capacity", {
  description: "The capacity of an amount, in all stacks that share it"
})

/** Labels: `queue`. */
const jobsPending = Metric.gauge("stacksapi_jobs_pending", {
  description: "Jobs that may start and wait for a slot, as of the last poll"
})

/** Labels: `queue`. */
const jobsFinishing = Metric.gauge("stacksapi_jobs_finishing", {
  description: "Jobs that have ended and wait until the service accepts their finish"
})

/** Labels: `queue`. */
const startsSuspended = Metric.gauge("stacksapi_starts_suspended", {
  description: "1 while starts are suspended because starts of different jobs kept failing, else 0"
})

/** Labels: `queue`. */
const lastPoll = Metric.gauge("stacksapi_last_poll_timestamp_seconds", {
  description: "Unix time of the latest successful poll, of the start before the first poll, 0 after the end"
})

const polls = Metric.counter("stacksapi_polls", { description: "Successful polls of the queue", incremental: true })

const requestFailures = Metric.counter("stacksapi_request_failures", {
  description: "Requests of the stack that failed and will be retried",
  incremental: true
})

const registrations = Metric.counter("stacksapi_registrations", {
  description: "Registrations of the stack, including those after the service had forgotten it",
  incremental: true
})

/** Labels: `operation`. */
const requests = Metric.counter("stacksapi_requests", {
  description: "Requests that were sent, with each attempt counted",
  incremental: true
})

/** Labels: `operation`. */
const retries = Metric.counter("stacksapi_retries", {
  description: "Requests that were sent again after a failure",
  incremental: true
})

/** Labels: `operation`, `status`. */
const requestDuration = Metric.histogram("stacksapi_request_duration_seconds", {
  description: "Time from sending a request to having read its response",
  boundaries: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
})

/** Labels: `reason`, `queue`. */
const jobsFiltered = Metric.gauge("stacksapi_jobs_filtered", {
  description: "Jobs that the last poll listed and the stack does not take"
})

/** The operations that a stack uses. */
const operations: ReadonlyArray<Operation> = [
  "getTokenIdentity",
  "registerStack",
  "deregisterStack",
  "listScheduledJobs",
  "batchReserveJobs",
  "getJob",
  "getJobStates",
  "finishJob",
  "createStackNotifications",
  "issueJobAcquisitionTokens"
]

const byOperation = <Input, State>(metric: Metric.Metric<Input, State>) => {
  const series = new Map<Operation, Metric.Metric<Input, State>>()
  return (operation: Operation): Metric.Metric<Input, State> => {
    const made = series.get(operation) ?? Metric.withAttributes(metric, { operation })
    series.set(operation, made)
    return made
  }
}

const requestsOf = byOperation(requests)
const retriesOf = byOperation(retries)

/** The durations of an operation's attempts, by the class of the status. */
const durationsOf = (operation: Operation) => {
  const series = new Map<StatusClass, Metric.Metric<number, unknown>>()
  return (status: StatusClass): Metric.Metric<number, unknown> => {
    const made = series.get(status) ?? Metric.withAttributes(requestDuration, { operation, status })
    series.set(status, made)
    return made
  }
}

const durations = new Map(operations.map((operation) => [operation, durationsOf(operation)]))

/** 429 is apart, because it says something about this process and not about the service. */
type StatusClass = "2xx" | "4xx" | "429" | "5xx" | "none"

const statusClass = (exit: Exit.Exit<unknown, StacksError>): StatusClass => {
  if (Exit.isSuccess(exit)) return "2xx"
  const error = Cause.squash(exit.cause)
  const status = Predicate.hasProperty(error, "status") ? Number(error.status) : 0
  if (status === 429) return "429"
  if (status >= 500) return "5xx"
  if (status >= 300) return "4xx"
  return status >= 200 ? "2xx" : "none"
}

/** Counts and times what the client sends, by operation. An attempt that is interrupted has no duration. */
export const meter =
  (context: Context.Context<never>): Meter =>
  (operation, attempt, response) =>
    Effect.suspend(() => {
      requestsOf(operation).updateUnsafe(1, context)
      if (attempt > 1) retriesOf(operation).updateUnsafe(1, context)
      const clock = Context.get(context, Clock.Clock)
      const startedAt = monotonicMillis(clock)
      return Effect.onExit(response, (exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)) return
          const seconds = (monotonicMillis(clock) - startedAt) / 1000
          durations.get(operation)?.(statusClass(exit)).updateUnsafe(seconds, context)
        })
      )
    })

/** Creates the counters, so that a rate over them is correct from the first event. */
export const init = (context: Context.Context<never>): void => {
  const counters = [...Object.values(outcomes), reserved, started, polls, requestFailures, registrations]
  for (const counter of counters) counter.updateUnsafe(0, context)
  for (const operation of operations) {
    requestsOf(operation).updateUnsafe(0, context)
    retriesOf(operation).updateUnsafe(0, context)
  }
}

/** Updates the counters for an event. */
export const count = (event: StackEvent, context: Context.Context<never>): void => {
  switch (event._tag) {
    case "Registered":
    case "ReRegistered":
      registrations.updateUnsafe(1, context)
      break
    case "Polled":
      polls.updateUnsafe(1, context)
      break
    case "RequestFailed":
      requestFailures.updateUnsafe(1, context)
      break
    case "Reserved":
      reserved.updateUnsafe(1, context)
      break
    case "Started":
      started.updateUnsafe(1, context)
      scheduleToStart.updateUnsafe(Duration.toSeconds(event.sinceScheduled), context)
      break
    case "Paused":
    case "Resumed":
    case "StartsSuspended":
    case "StartsResumed":
    case "Draining":
    case "Interrupted":
    case "Stopped":
      break
    case "Finished":
    case "AgentOwned":
    case "Failed":
    case "Canceled":
    case "ReservationLost":
    case "FinishRejected":
    case "NotAdmitted":
    case "NotReserved":
    case "BackedOff":
    case "Released":
    case "JobIgnored":
    case "InDoubt":
      outcomes[event._tag].updateUnsafe(1, context)
      break
    default:
      // A compile error for an event that is missing above.
      event satisfies never
  }
}

/** Sets since when a queue waits for its first poll, unless it has been polled. */
export const initLastPoll = (queue: string, millis: number, context: Context.Context<never>): void => {
  const own = Metric.withAttributes(lastPoll, { queue })
  if (own.valueUnsafe(context).value === 0) own.updateUnsafe(millis / 1000, context)
}

/** Sets when a queue was last polled. The latest value holds, if several stacks poll one queue. */
export const setLastPoll = (queue: string, millis: number, context: Context.Context<never>): void =>
  Metric.withAttributes(lastPoll, { queue }).updateUnsafe(millis / 1000, context)

/** The values of a stack's gauges. */
export interface Levels {
  readonly inFlight: number
  readonly free: number
  readonly pending: number
  readonly filtered: Filtered.Filtered
  readonly finishing: number
  readonly isSuspended: boolean
  /** The amounts that the stack's jobs hold, and their capacity. */
  readonly held: Readonly<Record<string, number>>
  readonly capacity: Readonly<Record<string, number>>
}

/** Sets the gauges. Gauges of stacks with the same labels are added. */
export const gauges = (queue: string | undefined, context: Context.Context<never>): ((levels: Levels) => void) => {
  const of = (gauge: Metric.Gauge<number>) => {
    const own = queue === undefined ? gauge : Metric.withAttributes(gauge, { queue })
    let last = 0
    return (level: number) => {
      own.modifyUnsafe(level - last, context)
      last = level
    }
  }
  const inFlight = of(jobsInFlight)
  const pending = of(jobsPending)
  const filtered = Filtered.reasons.map(
    (reason) => [reason, of(Metric.withAttributes(jobsFiltered, { reason }))] as const
  )
  const finishing = of(jobsFinishing)
  const suspended = of(startsSuspended)
  const held = new Map<string, (level: number) => void>()
  const heldOf = (amount: string) => {
    const gauge = held.get(amount) ?? of(Metric.withAttributes(amountsInUse, { amount }))
    held.set(amount, gauge)
    return gauge
  }
  return (levels) => {
    // Amounts without a capacity are left out: jobs could use any number of names.
    for (const [amount, size] of Object.entries(levels.capacity)) {
      heldOf(amount)(Amounts.of(levels.held, amount))
      Metric.withAttributes(amountsCapacity, { amount }).updateUnsafe(size, context)
    }
    inFlight(levels.inFlight)
    pending(levels.pending)
    for (const [reason, set] of filtered) set(levels.filtered[reason])
    finishing(levels.finishing)
    suspended(levels.isSuspended ? 1 : 0)
    slotsAvailable.updateUnsafe(Math.max(0, levels.free), context)
  }
}
