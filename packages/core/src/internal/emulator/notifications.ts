/** Notifications about jobs. Each notification of a batch is validated alone. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import {
  type CreateStackNotificationsResult,
  MaxBatchSize,
  MaxNotificationDetailLength,
  MaxNotificationsPerJob
} from "../../StacksSchema.ts"
import type { Job, Stack, State } from "./state.ts"

/** How long after its end a job still accepts notifications. */
const graceAfterFinish = Duration.toMillis("300 seconds")

/** A batch whose notifications are not validated yet. */
export const Batch = Schema.Struct({
  notifications: Schema.Array(Schema.Unknown).check(Schema.isMinLength(1), Schema.isMaxLength(MaxBatchSize))
})

/** A missing detail decodes, so that it is an error of this notification and not of the whole batch. */
const Notification = Schema.Struct({
  job_uuid: Schema.String,
  detail: Schema.NullOr(Schema.String).pipe(Schema.withDecodingDefaultKey(Effect.succeed(null))),
  timestamp: Schema.optional(Schema.NullOr(Schema.DateTimeUtcFromString))
})

const decodeNotification = Schema.decodeUnknownResult(Notification)

/** Stores the valid notifications. Reports each error once, with the indexes of all notifications that have it. */
export const create = (
  state: State,
  stack: Stack,
  notifications: ReadonlyArray<unknown>,
  now: number
): CreateStackNotificationsResult => {
  const errors = new Map<string, Array<number>>()
  const addError = (index: number, error: string) => {
    const indexes = errors.get(error)
    if (indexes === undefined) errors.set(error, [index])
    else indexes.push(index)
  }
  for (const [index, notification] of notifications.entries()) {
    const decoded = decodeNotification(notification)
    if (Result.isFailure(decoded)) {
      addError(index, decoded.failure.message.replaceAll(/\s+/g, " "))
      continue
    }
    const { detail, job_uuid: jobUuid, timestamp } = decoded.success
    const job = state.jobs.get(jobUuid)
    if (job === undefined) {
      addError(index, "job not found")
      continue
    }
    const happenedAt = timestamp === undefined || timestamp === null ? undefined : DateTime.toEpochMillis(timestamp)
    const error = validate(job, detail ?? "", happenedAt, now)
    if (detail === null || error !== undefined) {
      addError(index, error ?? "detail is required")
      continue
    }
    job.notifications++
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
