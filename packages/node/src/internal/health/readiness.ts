/** Whether work can be expected of a process. */
import * as Duration from "effect/Duration"
import type { ClusterReport } from "../../HealthServer.ts"
import type { Snapshot } from "./watch.ts"

/** Why no work should be expected of it now; null where it should. */
export const readinessFailure = (
  { cluster, livenessFailure, stacks }: Snapshot,
  maxPollAge: Duration.Duration
): string | null => {
  if (livenessFailure !== null) return livenessFailure
  if (cluster !== null && cluster.phase !== "running") return absences[cluster.phase]
  // A process of a cluster may lead no queue, and run jobs.
  if (stacks.length === 0) return cluster === null ? "no stack is registered yet" : null
  const refused = stacks.find(({ failure }) => failure !== null)
  if (refused !== undefined) return `stack ${refused.key} can't go on: ${refused.failure}`
  const going = stacks.filter(({ phase }) => phase !== "stopped")
  if (going.length === 0) return "stopped"
  for (const { key, phase, secondsSincePoll, startsSuspended } of going) {
    if (phase === "draining") return `stack ${key} is draining`
    if (startsSuspended) return `stack ${key} reserves nothing: starts of different jobs kept failing`
    if (secondsSincePoll === null) return `stack ${key} has not looked at its queue yet`
    if (secondsSincePoll > Duration.toSeconds(maxPollAge)) {
      return `stack ${key} last looked at its queue ${Math.round(secondsSincePoll)} s ago`
    }
  }
  return null
}

const absences: Record<Exclude<ClusterReport["phase"], "running">, string> = {
  joining: "the process has no place in the cluster yet",
  partitioned: "the process lost its place in the cluster: the database does not confirm it",
  leaving: "the process leaves the cluster"
}
