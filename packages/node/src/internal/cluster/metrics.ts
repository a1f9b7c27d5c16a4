/** How a process of the cluster is doing, measured. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

const member = Metric.gauge("stacksapi_cluster_member", {
  description: "1 while the database confirms the process's place in the cluster, else 0"
})

const slots = Metric.gauge("stacksapi_cluster_slots", { description: "Slots of the process" })

const running = Metric.gauge("stacksapi_cluster_jobs_running", {
  description: "Jobs that hold a slot of the process"
})

const leading = Metric.gauge("stacksapi_cluster_queues_led", { description: "Queues that the process leads" })

export const measure = (levels: {
  readonly isMember: boolean
  readonly slots: number
  readonly running: number
  readonly leading: number
}): Effect.Effect<void> =>
  Effect.all(
    [
      Metric.update(member, levels.isMember ? 1 : 0),
      Metric.update(slots, levels.slots),
      Metric.update(running, levels.running),
      Metric.update(leading, levels.leading)
    ],
    { discard: true }
  )
