/** Whether a process takes jobs. */
import * as Duration from "effect/Duration"
import type { ClusterReport } from "../../HealthServer.ts"
import type { WholeSnapshot } from "./watch.ts"

/** Why the process is not ready; null if it is. */
export const readinessFailure = (
  { cluster, livenessFailure, stacks, startReason }: WholeSnapshot,
  maxPollAge: Duration.Duration
): string | null => {
  if (livenessFailure !== null) return livenessFailure
  if (cluster !== null && cluster.phase !== "running") return notMemberReasons[cluster.phase]
  // A process of a cluster may run jobs and lead no queue.
  if (stacks.length === 0) {
    if (cluster !== null) return null
    return `no stack is registered yet${startReason === null ? "" : `: ${startReason}`}`
  }
  const failed = stacks.find(({ failure }) => failure !== null)
  if (failed !== undefined) return `stack ${failed.key} has failed: ${failed.failure}`
  const going = stacks.filter(({ phase }) => phase !== "stopped")
  if (going.length === 0) return "stopped"
  for (const { key, phase, runnerUnavailable, secondsSincePoll, startsSuspended } of going) {
    if (phase === "draining") return `stack ${key} is draining`
    if (startsSuspended) return `stack ${key} has suspended starts: starts of different jobs kept failing`
    if (runnerUnavailable !== null)
      return `stack ${key} reserves no jobs, because its runner is unavailable: ${runnerUnavailable}`
    if (secondsSincePoll === null) return `stack ${key} has not polled its queue yet`
    if (secondsSincePoll > Duration.toSeconds(maxPollAge)) {
      return `stack ${key} last polled its queue ${Math.round(secondsSincePoll)} s ago`
    }
  }
  return null
}

const notMemberReasons: Record<Exclude<ClusterReport["phase"], "running">, string> = {
  joining: "the process has not joined the cluster yet",
  partitioned: "the process is partitioned: the database does not confirm its membership of the cluster",
  leaving: "the process is leaving the cluster"
}
