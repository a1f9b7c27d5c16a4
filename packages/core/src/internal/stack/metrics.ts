/** What a stack counts and measures, from its start on. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { StackEvent } from "../../StackEvent.ts"

/** Jobs by what became of them; the attribute `outcome` is the event's name. */
export const jobs = Metric.counter("stacksapi_jobs", { description: "Jobs by outcome", incremental: true })

/** From a job's `scheduledAt` to its start, in seconds. */
export const queueToStart = Metric.histogram("stacksapi_queue_to_start_seconds", {
  description: "Time from scheduling to start",
  boundaries: [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600]
})

export const slotsAvailable = Metric.gauge("stacksapi_slots_available", { description: "Slots that are free" })

export const jobsInFlight = Metric.gauge("stacksapi_jobs_in_flight", { description: "Jobs that hold a slot" })

export const polls = Metric.counter("stacksapi_polls", { description: "Looks at the queue", incremental: true })

export const troubles = Metric.counter("stacksapi_troubles", {
  description: "Requests that failed and were to be tried again",
  incremental: true
})

/** Counts what an event says. */
export const count = (event: StackEvent): Effect.Effect<void> => {
  switch (event._tag) {
    case "Polled":
      return Metric.update(polls, 1)
    case "Troubled":
      return Metric.update(troubles, 1)
    case "Started":
      return Metric.update(queueToStart, Duration.toSeconds(event.sinceScheduled))
    case "Finished":
    case "AgentOwned":
    case "Failed":
    case "Canceled":
    case "Lost":
    case "GivenUp":
    case "NotReserved":
    case "Quarantined":
      return Metric.update(Metric.withAttributes(jobs, { outcome: event._tag }), 1)
    default:
      return Effect.void
  }
}
