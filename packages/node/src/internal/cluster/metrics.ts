/** The gauges of a process of the cluster. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

const member = Metric.gauge("stacksapi_cluster_member", {
  description: "1 while the database confirms the process's membership of the cluster, else 0"
})

const slots = Metric.gauge("stacksapi_cluster_slots", { description: "Slots of the process" })

const running = Metric.gauge("stacksapi_cluster_jobs_running", {
  description: "Jobs that hold a slot of the process"
})

const leading = Metric.gauge("stacksapi_cluster_queues_led", { description: "Queues that the process leads" })

export const update = (gauges: {
  readonly isMember: boolean
  readonly slots: number
  readonly running: number
  readonly leading: number
}): Effect.Effect<void> =>
  Effect.all(
    [
      Metric.update(member, gauges.isMember ? 1 : 0),
      Metric.update(slots, gauges.slots),
      Metric.update(running, gauges.running),
      Metric.update(leading, gauges.leading)
    ],
    { discard: true }
  )
