/** The gauges of a watched stack: slots and waiting jobs. */
import type * as Stack from "@stacksapi/core/Stack"
import type * as Stacks from "@stacksapi/core/Stacks"
import * as Effect from "effect/Effect"
import type * as ClusterStack from "../../ClusterStack.ts"
import type { Watched } from "../../StackView.ts"
import type { ViewModel } from "./frame.ts"

export interface Gauges {
  readonly slots: number
  readonly taken: number
  readonly pending: number
  readonly backingOff: number
  /** For a process of a cluster: its title and phase there. */
  readonly cluster?: Pick<ViewModel, "title" | "phase">
}

export const of = (watched: Watched): Effect.Effect<Gauges> =>
  Effect.map(watched.status, (status: Stack.Status | Stacks.Status | ClusterStack.Status) => {
    if ("inFlight" in status) {
      return { ...waitingOf([status]), slots: status.maxInFlight, taken: status.inFlight.length }
    }
    if ("queues" in status) {
      return {
        ...waitingOf(status.queues.flatMap(({ stack }) => stack ?? [])),
        slots: status.maxInFlight,
        taken: status.maxInFlight - status.free
      }
    }
    return {
      ...waitingOf(status.leading.map(({ status }) => status)),
      slots: status.slots,
      taken: status.running.length,
      cluster: { title: titleOf(status), phase: phases[status.phase] }
    }
  })

const waitingOf = (stacks: ReadonlyArray<Stack.Status>) => ({
  pending: stacks.reduce((sum, { pending }) => sum + pending, 0),
  backingOff: stacks.reduce((sum, { backingOff }) => sum + backingOff, 0)
})

/** `one of 3 processes · leads linux, mac` */
const titleOf = ({ leading, processes }: ClusterStack.Status): string => {
  const queues = leading.map(({ status }) => status.queueKey).sort()
  const place = processes.length > 1 ? `one of ${processes.length} processes` : "the only process"
  return `${processes.length === 0 ? "a process" : place} · leads ${queues.length === 0 ? "no queue" : queues.join(", ")}`
}

const phases = {
  joining: "starting",
  running: "running",
  partitioned: "partitioned",
  leaving: "draining"
} as const
