/** Publishes what happens in a stack: as events, in metrics, and in the log. */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { StackEvent } from "../../StackEvent.ts"
import * as LazyPubSub from "../lazyPubSub.ts"
import * as Metrics from "./metrics.ts"
import { shutdownTimeout } from "./retryPolicies.ts"
import type { Settings } from "./settings.ts"

export interface Events {
  readonly emit: (event: StackEvent) => Effect.Effect<void>
  readonly events: Stream.Stream<StackEvent>
}

/** A reader who falls farther behind misses the oldest. */
const capacity = 8192
/** What a new reader still gets: with it nobody misses how the stack started. */
const replay = 16

export const make = Effect.fnUntraced(function* (
  onEvent: Settings["onEvent"]
): Effect.fn.Return<Events, never, Scope.Scope> {
  const context = yield* Effect.context<never>()
  const events = yield* LazyPubSub.make<StackEvent>(capacity, replay)
  Metrics.init(context)
  const notify = onEvent === undefined ? constVoid : yield* listener(onEvent)
  return {
    events: events.values,
    emit: (event) =>
      Effect.suspend(() => {
        events.publish(event)
        Metrics.count(event, context)
        notify(event)
        return logged(event)
      })
  }
})

/** Calls a listener in a fiber of its own: neither its slowness nor its defects reach the stack. */
const listener = Effect.fnUntraced(function* (
  onEvent: NonNullable<Settings["onEvent"]>
): Effect.fn.Return<(event: StackEvent) => void, never, Scope.Scope> {
  const queue = yield* Queue.unbounded<StackEvent, Cause.Done>()
  const listening = yield* Stream.fromQueue(queue).pipe(
    Stream.runForEach((event) =>
      Effect.catchDefect(onEvent(event), (defect) => Effect.logError("onEvent died", defect))
    ),
    Effect.forkDetach
  )
  yield* Effect.addFinalizer(() =>
    Queue.end(queue).pipe(
      Effect.andThen(Effect.timeoutOption(Fiber.await(listening), shutdownTimeout)),
      Effect.andThen(Fiber.interrupt(listening)),
      Effect.timeoutOption(shutdownTimeout)
    )
  )
  return (event) => {
    Queue.offerUnsafe(queue, event)
  }
})

/** The log line of an event, at the level that an operator needs. */
const logged = (event: StackEvent): Effect.Effect<void> => {
  // A view that shows events recognizes these lines by it.
  const named = Effect.annotateLogs("stacksapi.event", event._tag)
  switch (event._tag) {
    case "Registered":
    case "ReRegistered":
      return named(Effect.logInfo(`${event._tag} ${event.stackKey} for queue ${event.queueKey}`))
    case "Paused":
    case "Resumed":
    case "Stopped":
      return named(Effect.logInfo(event._tag))
    case "StartsResumed":
      return named(Effect.logInfo("A job has started: starts are resumed"))
    case "Draining":
      return named(Effect.logInfo(`Draining: ${event.inFlight} jobs in flight`))
    case "Polled":
      return Effect.logDebug(`Polled: ${event.listed} jobs listed, ${event.startable} may start`)
    case "RequestFailed":
      return named(
        Effect.logWarning(
          event.jobUuid === undefined
            ? `Request failed: ${event.error.message}`
            : `Requests fail because of job ${event.jobUuid}, which travels alone from now on: ${event.error.message}`
        )
      )
    case "StartsSuspended":
      return named(
        Effect.logError(
          `Starts of different jobs keep failing: nothing is reserved for ${Duration.format(event.delay)}. The last failure: ${event.message}`
        )
      )
    case "JobIgnored":
      return named(Effect.logWarning(`Job "${event.jobUuid}" is left alone: ${event.reason}`))
    case "NotAdmitted":
      return named(Effect.logInfo(`Job ${event.job.id} is not admitted: ${event.reason}`))
    case "InDoubt":
      return named(Effect.logWarning(`It is not known whether job ${event.job.id} is reserved: ${event.reason}`))
    case "ReservationLost":
      return named(Effect.logWarning(`Lost the reservation of job ${event.job.id}`))
    case "BackedOff":
      return named(
        Effect.logWarning(
          `Job ${event.job.id} was not started, next try in ${Duration.format(event.delay)}: ${event.message}`
        )
      )
    case "Released":
      return named(Effect.logInfo(`Released job ${event.job.id}: ${event.reason}`))
    case "Failed":
      return named(Effect.logWarning(`Job ${event.job.id} failed: ${event.detail}`))
    case "FinishRejected":
      return named(Effect.logError(`The service refuses to finish job ${event.job.id}: ${event.error.message}`))
    default:
      return Effect.logDebug(`${event._tag}: job ${event.job.id}`)
  }
}
