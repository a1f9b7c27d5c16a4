/**
 * How a process asks its database: with a timeout, a few statements at a time, and with one warning when a statement fails and one
 * message when statements succeed again.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import { StorageError } from "./storage.ts"

export interface Requests {
  /** Does not retry, for what is useless when late. Undefined if it fails or has no result in time: it may take effect later. */
  readonly promptly: <A>(request: Effect.Effect<A, StorageError>) => Effect.Effect<A | undefined>
  /** The same, before all others. */
  readonly urgently: <A>(request: Effect.Effect<A, StorageError>) => Effect.Effect<A | undefined>
  /** Retries until the database answers. */
  readonly persistently: <A>(request: Effect.Effect<A, StorageError>) => Effect.Effect<A>
  /** Retries for a few seconds what may succeed later. */
  readonly atStart: <A>(request: Effect.Effect<A, StorageError>) => Effect.Effect<A, StorageError>
}

/** How many statements of a process run at a time, besides heartbeats, probes, and those that had no answer in time. */
const concurrency = 4

/** The longest time to wait for an answer, also where `lockExpiration` is long. */
const maxTimeout = Duration.seconds(4)

const maxStartRetries = 4

export const make = (expiration: Duration.Duration): Effect.Effect<Requests> =>
  Effect.map(Semaphore.make(concurrency), (permits) => {
    const timeout = Duration.min(Duration.divideUnsafe(expiration, 3), maxTimeout)
    const noAnswer = new StorageError({
      message: `no answer within ${Duration.format(timeout)}`,
      isRetryable: true
    })
    let isUnavailable = false
    const onFailure = (message: string) =>
      Effect.suspend(() => {
        if (isUnavailable) return Effect.void
        isUnavailable = true
        return Effect.logWarning(`A statement of the cluster failed: ${message}`)
      })
    const onSuccess = Effect.suspend(() => {
      if (!isUnavailable) return Effect.void
      isUnavailable = false
      return Effect.logInfo("The statements of the cluster succeed again")
    })
    // In a detached fiber: interrupting a query whose connection hangs takes long.
    const bounded = <A>(request: Effect.Effect<A, StorageError>) =>
      Effect.flatMap(Effect.forkDetach(Effect.tap(request, onSuccess)), (query) =>
        Fiber.join(query).pipe(
          Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(noAnswer) }),
          Effect.ensuring(Effect.sync(() => query.interruptUnsafe()))
        )
      )
    const once = <A>(request: Effect.Effect<A, StorageError>): Effect.Effect<A | undefined> =>
      Effect.catch(bounded(request), ({ message }) => Effect.as(onFailure(message), undefined))
    return {
      promptly: (request) => permits.withPermit(once(request)),
      urgently: once,
      persistently: (request) =>
        permits.withPermit(bounded(request)).pipe(
          Effect.tapError(({ message }) => onFailure(message)),
          Effect.retry(Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")])),
          Effect.orDie
        ),
      atStart: (request) =>
        Effect.retry(bounded(request), {
          schedule: Schedule.exponential("100 millis"),
          times: maxStartRetries,
          while: ({ isRetryable }) => isRetryable
        })
    }
  })
