/**
 * Notifications about jobs, sent in batches behind the caller's back: `notify` returns at once, nothing is lost silently, and
 * what is left is flushed when the scope closes.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { oneLine } from "./internal/client/failures.ts"
import * as Hub from "./internal/hub.ts"
import { isolate, mayBeOneJob } from "./internal/isolate.ts"
import * as Check from "./internal/options.ts"
import * as RetryPolicy from "./RetryPolicy.ts"
import * as StacksClient from "./StacksClient.ts"
import type { InvalidOptions, StacksError } from "./StacksError.ts"
import {
  type CreateStackNotificationsResult,
  MaxBatchSize,
  MaxNotificationsPerJob,
  StackNotification
} from "./StacksSchema.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A notification as it was handed in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Notification {
  readonly jobUuid: string
  readonly detail: string
}

/**
 * What became of one notification:
 * - `Delivered`: the service stored it.
 * - `Rejected`: the service refused it, with its text in `error`, or it breaks a rule that is checked here.
 * - `Failed`: the request failed, also after retries, or there was no time left at the end.
 * - `Dropped`: it was never sent: the job has had its 100 (`limit`), or the buffer was full (`overflow`).
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = Data.TaggedEnum<{
  Delivered: { readonly notification: Notification }
  Rejected: { readonly notification: Notification; readonly error: string }
  Failed: { readonly notification: Notification; readonly error: StacksError | undefined }
  Dropped: { readonly notification: Notification; readonly reason: "limit" | "overflow" }
}>

/**
 * Constructors and matchers of {@link Outcome}.
 *
 * @since 0.1.0
 * @category models
 */
export const Outcome = Data.taggedEnum<Outcome>()

/**
 * How many notifications came to which outcome; the attribute `outcome` is `delivered`, `rejected`, `failed` or `dropped`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const outcomes = Metric.counter("stacksapi_notifications", {
  description: "Notifications by outcome",
  incremental: true
})

/**
 * How notifications are sent.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The stack that notifies. */
  readonly stackKey: string
  /** How many notifications may wait. When it is full, new ones are dropped and reported. At least 1, default 65,536. */
  readonly bufferSize?: number | undefined
  /** How long a batch waits to fill up to 1000, at most 1 hour. Default 100 milliseconds. */
  readonly window?: Duration.Input | undefined
  /** How long the last batches may take when the scope closes. Default 5 seconds. */
  readonly flushTimeout?: Duration.Input | undefined
}

/**
 * Sends notifications about jobs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * Hands in a notification and returns at once. Texts over 256 characters are cropped, and a job gets at most 100. One that
   * is sent more than a second later carries the time at which it was handed in.
   */
  readonly notify: (jobUuid: string, detail: string) => Effect.Effect<void>
  /**
   * Counts a job's notifications no longer: it is over. Without it the counts of the last 100,000 jobs are kept. What was
   * handed in is sent all the same.
   */
  readonly release: (jobUuid: string) => Effect.Effect<void>
  /** What becomes of the notifications, from now on. A reader who falls 4096 behind misses the oldest. */
  readonly results: Stream.Stream<Outcome>
}

/**
 * Sends notifications about jobs.
 *
 * @since 0.1.0
 * @category services
 */
export class Notifications extends Context.Service<Notifications, Service>()("@stacksapi/core/Notifications") {}

// -----------------------------------------------------------------------------
// Implementation
// -----------------------------------------------------------------------------

interface Pending extends Notification {
  readonly at: number
}

/** Counts of the jobs that were notified about last; the service itself keeps to the limit for all others. */
const maxCountedJobs = 100_000

/**
 * Starts sending; what is left is sent when the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* ({
  bufferSize = 65_536,
  flushTimeout = "5 seconds",
  stackKey,
  window = "100 millis"
}: Options): Effect.fn.Return<Service, InvalidOptions, StacksClient.StacksClient | Scope.Scope> {
  yield* Check.count("bufferSize", bufferSize, 1)
  yield* Check.duration("window", window, { max: Check.hour })
  yield* Check.duration("flushTimeout", flushTimeout)
  const client = yield* StacksClient.StacksClient
  const results = yield* Hub.make<Outcome>(4096)
  const queue = yield* Queue.dropping<Pending, Cause.Done>(bufferSize)
  const counts = new Map<string, number>()
  /** What was taken and not reported yet, wherever it is. */
  const open = new Set<Notification>()

  const report = (outcome: Outcome): Effect.Effect<void> => {
    open.delete(outcome.notification)
    results.publish(outcome)
    const counted = Metric.update(Metric.withAttributes(outcomes, { outcome: outcome._tag.toLowerCase() }), 1)
    return outcome._tag === "Delivered" ? counted : Effect.andThen(counted, logLoss(outcome))
  }

  const request = (batch: ReadonlyArray<Pending>) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      client.createStackNotifications({
        stackKey,
        notifications: batch.map(({ at, detail, jobUuid }) => ({
          jobUuid,
          detail,
          // The service dates what comes without a time; ours, a moment ahead of its clock, would be refused.
          timestamp: now - at > 1000 ? DateTime.makeUnsafe(at) : undefined
        }))
      })
    )

  const onAnswer = (batch: ReadonlyArray<Pending>, { errors }: CreateStackNotificationsResult): Effect.Effect<void> => {
    const rejected = new Map(errors.flatMap(({ error, indexes }) => indexes.map((index) => [index, error])))
    return Effect.forEach(
      batch,
      (notification, index) => {
        const error = rejected.get(index)
        return report(
          error === undefined ? Outcome.Delivered({ notification }) : Outcome.Rejected({ notification, error })
        )
      },
      { discard: true }
    )
  }

  /** The whole batch was retried before. */
  const once = (batch: ReadonlyArray<Pending>) => RetryPolicy.withPolicy(request(batch), RetryPolicy.none)
  const isDivisible = (error: StacksError) =>
    mayBeOneJob(error) || (error.isRetryable && !(error._tag === "ErrorResponse" && error.status === 429))

  const fail = (batch: ReadonlyArray<Pending>, error: StacksError) =>
    Effect.forEach(batch, (notification) => report(Outcome.Failed({ notification, error })), { discard: true })

  /** A batch that keeps failing, perhaps because of one notification, is divided, so that the others are delivered. */
  const send = (batch: ReadonlyArray<Pending>): Effect.Effect<void> =>
    Effect.matchEffect(request(batch), {
      onSuccess: (answer) => onAnswer(batch, answer),
      onFailure: (error) =>
        isDivisible(error)
          ? Effect.flatMap(
              isolate({ items: batch, error, request: once, onAnswer, isDivisible }),
              ({ failed, offenders }) =>
                Effect.andThen(
                  Effect.forEach(offenders, ({ error, item }) => fail([item], error), { discard: true }),
                  Effect.forEach(failed, ({ error, items }) => fail(items, error), { discard: true })
                )
            )
          : fail(batch, error)
    })

  const sending = yield* Stream.fromQueue(queue).pipe(
    Stream.groupedWithin(MaxBatchSize, window),
    Stream.runForEach(send),
    Effect.forkDetach
  )
  yield* Effect.addFinalizer(() =>
    Queue.end(queue).pipe(
      Effect.andThen(Fiber.await(sending)),
      Effect.timeoutOrElse({
        duration: flushTimeout,
        orElse: () =>
          Effect.gen(function* () {
            yield* Fiber.interrupt(sending)
            yield* Effect.forEach(Array.from(open), (notification) =>
              report(Outcome.Failed({ notification, error: undefined }))
            )
          })
      })
    )
  )

  return {
    results: results.values,
    release: (jobUuid) => Effect.sync(() => void counts.delete(jobUuid)),
    notify: (jobUuid, detail) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => {
        const notification: Pending = { jobUuid, detail, at }
        // One that can't be sent would spoil the batch that it is in.
        const encoded = encode(notification)
        if (Result.isFailure(encoded)) {
          return report(Outcome.Rejected({ notification, error: encoded.failure.message }))
        }
        const count = counts.get(jobUuid) ?? 0
        if (count >= MaxNotificationsPerJob) return report(Outcome.Dropped({ notification, reason: "limit" }))
        if (!Queue.offerUnsafe(queue, notification)) {
          return report(Outcome.Dropped({ notification, reason: "overflow" }))
        }
        open.add(notification)
        // Set anew, so that the map's order is the order of use.
        counts.delete(jobUuid)
        counts.set(jobUuid, count + 1)
        const [oldest] = counts.size > maxCountedJobs ? counts.keys() : []
        if (oldest !== undefined) counts.delete(oldest)
        return Effect.void
      })
  }
})

const encode = Schema.encodeUnknownResult(StackNotification)

const logLoss = (outcome: Exclude<Outcome, { readonly _tag: "Delivered" }>): Effect.Effect<void> => {
  const because =
    outcome._tag === "Rejected"
      ? oneLine(outcome.error)
      : outcome._tag === "Dropped"
        ? outcome.reason === "limit"
          ? `a job takes at most ${MaxNotificationsPerJob}`
          : "too many are waiting"
        : (outcome.error?.message ?? "there was no time left")
  return Effect.logWarning(`A notification was not delivered: ${because}`).pipe(
    Effect.annotateLogs({ job_uuid: outcome.notification.jobUuid })
  )
}

/**
 * Sends notifications while the layer is in use, and flushes when it goes.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Notifications, InvalidOptions, StacksClient.StacksClient> =>
  Layer.effect(Notifications, make(options))

/**
 * Hands in a notification about a job and returns at once.
 *
 * @since 0.1.0
 * @category accessors
 */
export const notify = (jobUuid: string, detail: string): Effect.Effect<void, never, Notifications> =>
  Effect.flatMap(Notifications, (notifications) => notifications.notify(jobUuid, detail))
