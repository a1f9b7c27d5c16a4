/** Notifications about jobs: each one of a batch is judged on its own. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import {
  type CreateStackNotificationsResult,
  MaxNotificationDetailLength,
  MaxNotificationsPerJob,
  type StackNotification
} from "../../StacksSchema.ts"
import type { Job, Stack, State } from "./state.ts"

/** For how long a job that is over still takes notifications. */
const graceAfterFinish = Duration.toMillis("300 seconds")

/** Stores the valid ones, and reports the others: each text once, with the places of all that it is about. */
export const create = (
  state: State,
  stack: Stack,
  notifications: ReadonlyArray<StackNotification>,
  now: number
): CreateStackNotificationsResult => {
  const errors = new Map<string, Array<number>>()
  for (const [index, { detail, jobUuid, timestamp }] of notifications.entries()) {
    const job = state.jobs.get(jobUuid)
    const happenedAt = timestamp === undefined ? undefined : DateTime.toEpochMillis(timestamp)
    const error = job === undefined ? "job not found" : validate(job, detail, happenedAt, now)
    if (error !== undefined) {
      const indexes = errors.get(error)
      if (indexes === undefined) errors.set(error, [index])
      else indexes.push(index)
      continue
    }
    if (job !== undefined) job.notifications++
    state.notifications.push({
      jobUuid,
      stackKey: stack.key,
      detail,
      timestamp: happenedAt ?? now,
      receivedAt: now
    })
  }
  return { errors: Array.from(errors, ([error, indexes]) => ({ error, indexes })) }
}

const validate = (job: Job, detail: string, happenedAt: number | undefined, now: number): string | undefined => {
  if (detail === "") return "detail is required"
  if (Array.from(detail).length > MaxNotificationDetailLength) {
    return `detail exceeds its length limit of ${MaxNotificationDetailLength}`
  }
  if (happenedAt !== undefined) {
    if (happenedAt > now) return "timestamp is in the future"
    if (happenedAt < job.scheduledAt) return "timestamp is before the job was scheduled"
  }
  if (job.finishedAt !== undefined && now - job.finishedAt > graceAfterFinish) {
    return "job finished more than 300 seconds ago"
  }
  if (job.notifications >= MaxNotificationsPerJob) return "job stack notification count exceeded"
  return undefined
}
