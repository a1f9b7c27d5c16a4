/**
 * Notifications about jobs, sent in batches in the background. `notify` returns at once. The outcome of each notification is
 * reported, and the remaining ones are flushed when the scope closes.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { oneLine } from "./internal/client/failures.ts"
import { CurrentServiceClock } from "./internal/client/serviceClock.ts"
import { isolate, mayBeOneJob, mayBeOneJobAfterAll } from "./internal/isolate.ts"
import * as LazyPubSub from "./internal/lazyPubSub.ts"
import { monotonicMillis } from "./internal/monotonicMillis.ts"
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
 * A notification about a job.
 *
 * @since 0.1.0
 * @category models
 */
export interface Notification {
  readonly jobUuid: string
  readonly detail: string
}

/**
 * The outcome of one notification.
 *
 * **Details**
 *
 * - `Delivered`: the service has stored it.
 * - `Rejected`: the service has refused it, with its message in `error`, or it is invalid.
 * - `Failed`: the request failed after all retries, or the flush timed out.
 * - `Dropped`: it was not sent, because the job has had its 100 notifications (`limit`) or the buffer was full (`overflow`).
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
 * Counts notifications by outcome: `delivered`, `rejected`, `failed` or `dropped`. Labels: `outcome`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const outcomes = Metric.counter("stacksapi_notifications", {
  description: "Notifications by outcome",
  incremental: true
})

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * Sends notifications about jobs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * Enqueues a notification and returns at once. A `detail` of more than 256 characters is cropped. A job gets at most 100
   * notifications. A notification that is sent more than a second later carries the time of this call.
   */
  readonly notify: (jobUuid: string, detail: string) => Effect.Effect<void>
  /**
   * Stops counting a job's notifications, because it is over. Otherwise the counts of the last 100,000 jobs are kept. Enqueued
   * notifications are still sent.
   */
  readonly release: (jobUuid: string) => Effect.Effect<void>
  /** The outcomes from now on. A subscriber that is more than 4096 behind misses the oldest. */
  readonly results: Stream.Stream<Outcome>
}

/**
 * Sends notifications about jobs.
 *
 * @since 0.1.0
 * @category services
 */
export class Notifications extends Context.Service<Notifications, Service>()("@stacksapi/core/Notifications") {}

/**
 * Options of {@link make} and {@link layer}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The stack that notifies. */
  readonly stackKey: string
  /** How many notifications may wait. If the buffer is full, new ones are dropped and reported. At least 1, default 65,536. */
  readonly bufferSize?: number | undefined
  /** How long a batch waits for more notifications, up to 1000. At most 1 hour, default 100 milliseconds. */
  readonly window?: Duration.Input | undefined
  /**
   * How long a notification is kept and sent again while the service fails, after the retries of the `RetryPolicy`. Default 0: it fails
   * at once. A stack keeps its notifications for 15 minutes.
   */
  readonly retryFor?: Duration.Input | undefined
  /** How long the flush may take when the scope closes. Default 5 seconds. */
  readonly flushTimeout?: Duration.Input | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

interface QueuedNotification extends Notification {
  /** In monotonic milliseconds. */
  readonly at: number
}

const firstRetryMillis = 1000
const maxRetryMillis = 30_000

/** How many jobs have their notifications counted. The service enforces the limit for all jobs. */
const maxCountedJobs = 100_000

/**
 * Starts sending notifications. The remaining ones are flushed when the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* ({
  bufferSize = 65_536,
  flushTimeout = "5 seconds",
  retryFor = 0,
  stackKey,
  window = "100 millis"
}: Options): Effect.fn.Return<Service, InvalidOptions, StacksClient.StacksClient | Scope.Scope> {
  yield* Check.count("bufferSize", bufferSize, 1)
  yield* Check.duration("window", window, { max: Check.hour })
  yield* Check.duration("flushTimeout", flushTimeout)
  const keptMillis = Duration.toMillis(yield* Check.duration("retryFor", retryFor))
  const client = yield* StacksClient.StacksClient
  const clock = yield* Clock.Clock
  const serviceClock = yield* CurrentServiceClock
  const now = () => monotonicMillis(clock)
  /** The service's time, as far as it is known. */
  const serviceNow = () => serviceClock?.now(clock) ?? clock.currentTimeMillisUnsafe()
  const results = yield* LazyPubSub.make<Outcome>(4096)
  const queue = yield* Queue.dropping<QueuedNotification, Cause.Done>(bufferSize)
  const counts = new Map<string, number>()
  /** How many batches the service has taken. */
  let delivered = 0
  /** The notifications without an outcome. */
  const pending = new Set<Notification>()

  const report = (outcome: Outcome): Effect.Effect<void> => {
    pending.delete(outcome.notification)
    results.publish(outcome)
    const counted = Metric.update(Metric.withAttributes(outcomes, { outcome: outcome._tag.toLowerCase() }), 1)
    return outcome._tag === "Delivered" ? counted : Effect.andThen(counted, logLoss(outcome))
  }

  const request = (batch: ReadonlyArray<QueuedNotification>) =>
    Effect.suspend(() => {
      const sentAt = now()
      return client.createStackNotifications({
        stackKey,
        notifications: batch.map(({ at, detail, jobUuid }) => ({
          jobUuid,
          detail,
          // Without a time, the service uses its own. It would refuse a time that is ahead of its clock.
          timestamp: sentAt - at > 1000 ? DateTime.makeUnsafe(Math.floor(serviceNow() - (sentAt - at))) : undefined
        }))
      })
    })

  const onAnswer = (
    batch: ReadonlyArray<QueuedNotification>,
    { errors }: CreateStackNotificationsResult
  ): Effect.Effect<void> => {
    delivered++
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

  /** Without retries: the whole batch has been retried before. */
  const once = (batch: ReadonlyArray<QueuedNotification>) => RetryPolicy.withPolicy(request(batch), RetryPolicy.none)

  const fail = (batch: ReadonlyArray<QueuedNotification>, error: StacksError) =>
    Effect.forEach(batch, (notification) => report(Outcome.Failed({ notification, error })), { discard: true })

  /** Notifications that wait until the service recovers, with the number of batches that had been delivered before. */
  let delayed: Array<{ readonly notification: QueuedNotification; readonly deliveredBefore: number }> = []
  const hasDelayed = yield* Latch.make(false)

  const delay = (batch: ReadonlyArray<QueuedNotification>, error: StacksError) =>
    Effect.suspend(() => {
      const isKept = ({ at }: QueuedNotification) => now() - at < keptMillis
      for (const notification of batch.filter(isKept)) delayed.push({ notification, deliveredBefore: delivered })
      if (delayed.length > 0) hasDelayed.openUnsafe()
      return fail(
        batch.filter((notification) => !isKept(notification)),
        error
      )
    })

  /** Whether the service accepts other batches, and not this one. */
  const isAlone = (batch: ReadonlyArray<QueuedNotification>, error: StacksError, deliveredBefore: number) =>
    batch.length === 1 && (mayBeOneJob(error) || delivered > deliveredBefore)

  /** A batch that fails is divided, because one notification may be the cause. So the others are delivered. */
  const send = (
    batch: ReadonlyArray<QueuedNotification>,
    request: (batch: ReadonlyArray<QueuedNotification>) => ReturnType<typeof once>,
    deliveredBefore: number
  ): Effect.Effect<void> =>
    Effect.matchEffect(request(batch), {
      onSuccess: (answer) => onAnswer(batch, answer),
      onFailure: (error) => {
        if (isAlone(batch, error, deliveredBefore)) return fail(batch, error)
        if (batch.length === 1 || !mayBeOneJobAfterAll(error)) return delay(batch, error)
        return Effect.flatMap(
          isolate({ items: batch, error, request: once, onAnswer, isDivisible: mayBeOneJobAfterAll }),
          ({ failed, offenders }) =>
            Effect.andThen(
              Effect.forEach(offenders, ({ error, item }) => fail([item], error), { discard: true }),
              Effect.forEach(failed, ({ error, items }) => delay(items, error), { discard: true })
            )
        )
      }
    })

  /** Sends the delayed notifications once more. */
  const sendDelayed = Effect.suspend(() => {
    const batch = delayed.slice(0, MaxBatchSize)
    delayed = delayed.slice(MaxBatchSize)
    if (delayed.length === 0) hasDelayed.closeUnsafe()
    const [first] = batch
    return first === undefined
      ? Effect.void
      : send(
          batch.map(({ notification }) => notification),
          once,
          first.deliveredBefore
        )
  })

  const sending = yield* Stream.fromQueue(queue).pipe(
    Stream.groupedWithin(MaxBatchSize, window),
    Stream.runForEach((batch) => send(batch, request, Number.POSITIVE_INFINITY)),
    Effect.forkDetach
  )
  const retrying = yield* Effect.gen(function* () {
    let tries = 0
    while (true) {
      yield* hasDelayed.await
      yield* Effect.sleep(Math.min(maxRetryMillis, firstRetryMillis * 2 ** Math.min(10, tries)))
      const before = delivered
      yield* sendDelayed
      tries = delivered > before ? 0 : tries + 1
    }
  }).pipe(Effect.forkDetach)
  const failPending = Effect.suspend(() =>
    Effect.forEach(Array.from(pending), (notification) => report(Outcome.Failed({ notification, error: undefined })), {
      discard: true
    })
  )
  yield* Effect.addFinalizer(() =>
    Fiber.interrupt(retrying).pipe(
      Effect.andThen(Queue.end(queue)),
      Effect.andThen(Fiber.await(sending)),
      Effect.andThen(sendDelayed),
      Effect.timeoutOption(flushTimeout),
      Effect.andThen(Fiber.interrupt(sending)),
      Effect.andThen(failPending)
    )
  )

  return {
    results: results.values,
    release: (jobUuid) => Effect.sync(() => void counts.delete(jobUuid)),
    notify: (jobUuid, detail) =>
      Effect.suspend(() => {
        const notification: QueuedNotification = { jobUuid, detail, at: now() }
        // An invalid notification would fail its whole batch.
        const encoded = encode(notification)
        if (Result.isFailure(encoded)) {
          return report(Outcome.Rejected({ notification, error: encoded.failure.message }))
        }
        const count = counts.get(jobUuid) ?? 0
        if (count >= MaxNotificationsPerJob) return report(Outcome.Dropped({ notification, reason: "limit" }))
        if (!Queue.offerUnsafe(queue, notification)) {
          return report(Outcome.Dropped({ notification, reason: "overflow" }))
        }
        pending.add(notification)
        // Delete before setting, so that the map is in the order of use.
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
          ? `a job has at most ${MaxNotificationsPerJob}`
          : "the buffer is full"
        : (outcome.error?.message ?? "the flush timed out")
  return Effect.logWarning(`A notification was not delivered: ${because}`).pipe(
    Effect.annotateLogs({ job_uuid: outcome.notification.jobUuid })
  )
}

// -----------------------------------------------------------------------------
// Layers and accessors
// -----------------------------------------------------------------------------

/**
 * Sends notifications, and flushes them when the layer's scope closes.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Notifications, InvalidOptions, StacksClient.StacksClient> =>
  Layer.effect(Notifications, make(options))

/**
 * Enqueues a notification about a job and returns at once.
 *
 * @since 0.1.0
 * @category accessors
 */
export const notify = (jobUuid: string, detail: string): Effect.Effect<void, never, Notifications> =>
  Effect.flatMap(Notifications, (notifications) => notifications.notify(jobUuid, detail))
