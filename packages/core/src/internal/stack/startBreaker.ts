/**
 * A circuit breaker for starts, so that a broken host does not take one job after the other. If starts of different jobs
 * keep failing, the stack reserves nothing for a while, then tries one job.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { StackEvent } from "../../StackEvent.ts"

export interface StartBreaker {
  /** Whether starts are suspended, and no job may be tried yet. */
  readonly isOpen: () => boolean
  /** Whether starts are suspended, even if one job may be tried. */
  readonly isSuspended: () => boolean
  /** How many more jobs may be reserved or started: infinity, or at most one while starts are suspended. */
  readonly allowance: (isOneWaiting: boolean) => number
  /** Records that a job is about to start. */
  readonly starting: (jobUuid: string) => void
  /** Records that a job could not be started because of the host. */
  readonly failed: (jobUuid: string, message: string) => Effect.Effect<void>
  /** Records that a job has started. */
  readonly succeeded: (jobUuid: string) => Effect.Effect<void>
  /** Records that a job ended, and it is unknown whether it had started. */
  readonly ended: (jobUuid: string) => void
  /** Whether starts have failed since the last success, so that a success matters. */
  readonly hasFailures: () => boolean
}

/** How many different jobs must fail without a start in between. With fewer than five slots, it is one more than twice the slots. */
const maxFailures = 10
const firstDelay = 30_000
const maxDelay = 300_000

export const make = ({
  emit,
  now,
  onOpen,
  slots,
  wakeIn
}: {
  readonly emit: (event: StackEvent) => Effect.Effect<void>
  readonly now: () => number
  /** Called when starts are suspended. */
  readonly onOpen: (message: string) => Effect.Effect<void>
  /** How many slots the stack may use. */
  readonly slots: () => number
  /** Wakes the reserver after a time. */
  readonly wakeIn: (millis: number) => Effect.Effect<void>
}): StartBreaker => {
  const failures = new Set<string>()
  let openings = 0
  let openUntil: number | undefined
  /** The job that the stack tries while starts are suspended. */
  let tried: string | undefined

  const isHostToBlame = () => failures.size >= Math.min(maxFailures, 2 * slots() + 1)

  const open = (message: string) =>
    Effect.suspend(() => {
      const delay = Math.min(maxDelay, firstDelay * 2 ** Math.min(10, openings))
      openings++
      openUntil = now() + delay
      return emit(StackEvent.StartsSuspended({ message, delay: Duration.millis(delay) })).pipe(
        Effect.andThen(onOpen(message)),
        Effect.andThen(wakeIn(delay))
      )
    })

  return {
    isOpen: () => openUntil !== undefined && now() < openUntil,
    isSuspended: () => openUntil !== undefined,
    allowance: (isOneWaiting) => {
      if (openUntil === undefined) return Number.POSITIVE_INFINITY
      return now() >= openUntil && tried === undefined && !isOneWaiting ? 1 : 0
    },
    starting: (jobUuid) => {
      if (openUntil !== undefined) tried = jobUuid
    },
    failed: (jobUuid, message) =>
      Effect.suspend(() => {
        failures.add(jobUuid)
        const isTried = tried === jobUuid
        if (isTried) tried = undefined
        return isTried || (openUntil === undefined && isHostToBlame()) ? open(message) : Effect.void
      }),
    succeeded: (jobUuid) =>
      Effect.suspend(() => {
        if (openUntil === undefined) {
          failures.clear()
          return Effect.void
        }
        // Jobs that were started earlier say nothing about starts now.
        if (tried !== jobUuid) return Effect.void
        tried = undefined
        failures.clear()
        openings = 0
        openUntil = undefined
        return Effect.andThen(emit(StackEvent.StartsResumed()), wakeIn(0))
      }),
    ended: (jobUuid) => {
      if (tried === jobUuid) tried = undefined
    },
    hasFailures: () => failures.size > 0 || openUntil !== undefined
  }
}
