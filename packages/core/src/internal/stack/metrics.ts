/** What a stack counts and measures, from its start on. */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Metric from "effect/Metric"
import type { StackEvent } from "../../StackEvent.ts"
import type { Operation } from "../../StacksApi.ts"
import type { Meter } from "../meter.ts"

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
  description: "Jobs that were reserved",
  incremental: true
})

const started = Metric.counter("stacksapi_jobs_started", { description: "Jobs that were started", incremental: true })

const scheduleToStart = Metric.histogram("stacksapi_schedule_to_start_seconds", {
  description: "Time from a job's scheduling, or its runnable_at, to its start",
  boundaries: [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600]
})

const slotsAvailable = Metric.gauge("stacksapi_slots_available", { description: "Slots that are free" })

const jobsInFlight = Metric.gauge("stacksapi_jobs_in_flight", { description: "Jobs that hold a slot" })

const amountsInUse = Metric.gauge("stacksapi_amounts_in_use", {
  description: "What jobs hold of an amount of the capacity"
})

const amountsCapacity = Metric.gauge("stacksapi_amounts_capacity", {
  description: "How much there is of an amount, in all stacks that share it"
})

const jobsPending = Metric.gauge("stacksapi_jobs_pending", {
  description: "Jobs that may start and wait for a slot, as far as the last poll saw them"
})

const jobsFinishing = Metric.gauge("stacksapi_jobs_finishing", {
  description: "Jobs that have ended and wait until the service accepts their finish"
})

const startsSuspended = Metric.gauge("stacksapi_starts_suspended", {
  description: "1 while nothing is reserved because starts of different jobs kept failing, else 0"
})

const polls = Metric.counter("stacksapi_polls", { description: "Looks at the queue", incremental: true })

const requestFailures = Metric.counter("stacksapi_request_failures", {
  description: "Requests that failed and were to be tried again",
  incremental: true
})

const registrations = Metric.counter("stacksapi_registrations", {
  description: "Registrations of the stack, the first one and those after it was forgotten",
  incremental: true
})

const requests = Metric.counter("stacksapi_requests", {
  description: "Requests that were sent, each attempt counted",
  incremental: true
})

const retries = Metric.counter("stacksapi_retries", {
  description: "Requests that were sent again after a failure",
  incremental: true
})

/** What a stack asks for. */
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

/** Counts what the client sends, by operation. */
export const meter =
  (context: Context.Context<never>): Meter =>
  (operation, attempt) => {
    requestsOf(operation).updateUnsafe(1, context)
    if (attempt > 1) retriesOf(operation).updateUnsafe(1, context)
  }

/** Makes the counters exist, so that a rate over them is right from the first event on. */
export const init = (context: Context.Context<never>): void => {
  const counters = [...Object.values(outcomes), reserved, started, polls, requestFailures, registrations]
  for (const counter of counters) counter.updateUnsafe(0, context)
  for (const operation of operations) {
    requestsOf(operation).updateUnsafe(0, context)
    retriesOf(operation).updateUnsafe(0, context)
  }
}

/** Counts what an event says. */
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
  }
}

/** What the gauges of a stack show. */
export interface Levels {
  readonly inFlight: number
  readonly free: number
  readonly pending: number
  readonly finishing: number
  readonly isSuspended: boolean
  /** What the stack's jobs hold, and what there is of it. */
  readonly held: Readonly<Record<string, number>>
  readonly capacity: Readonly<Record<string, number>>
}

/** Sets the gauges. Those of stacks that are measured together add up. */
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
  const finishing = of(jobsFinishing)
  const suspended = of(startsSuspended)
  const held = new Map<string, (level: number) => void>()
  const heldOf = (amount: string) => {
    const gauge = held.get(amount) ?? of(Metric.withAttributes(amountsInUse, { amount }))
    held.set(amount, gauge)
    return gauge
  }
  return (levels) => {
    // Names that are not in the capacity could be another one for each job.
    for (const [amount, size] of Object.entries(levels.capacity)) {
      heldOf(amount)(levels.held[amount] ?? 0)
      Metric.withAttributes(amountsCapacity, { amount }).updateUnsafe(size, context)
    }
    inFlight(levels.inFlight)
    pending(levels.pending)
    finishing(levels.finishing)
    suspended(levels.isSuspended ? 1 : 0)
    slotsAvailable.updateUnsafe(Math.max(0, levels.free), context)
  }
}
