/** Publishes the events of a stack: to subscribers, in metrics, and in the log. */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import type * as LogLevel from "effect/LogLevel"
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

/** How many events are kept for a slow subscriber. Beyond that it misses the oldest. */
const capacity = 8192
/** How many past events a new subscriber gets, so that it does not miss the start of the stack. */
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

/** Calls a listener in a separate fiber, so that a slow or failing listener does not affect the stack. */
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

/** The level of each event's log line. */
export const levels = {
  Registered: "Info",
  ReRegistered: "Info",
  Polled: "Debug",
  Paused: "Info",
  Resumed: "Info",
  RequestFailed: "Warn",
  StartsSuspended: "Error",
  StartsResumed: "Info",
  Draining: "Info",
  Interrupted: "Warn",
  Stopped: "Info",
  JobIgnored: "Warn",
  NotAdmitted: "Info",
  NotReserved: "Debug",
  InDoubt: "Warn",
  Reserved: "Debug",
  Started: "Debug",
  BackedOff: "Warn",
  FinishRejected: "Error",
  Finished: "Debug",
  AgentOwned: "Debug",
  Failed: "Warn",
  Canceled: "Debug",
  ReservationLost: "Warn",
  Released: "Info"
} as const satisfies Record<StackEvent["_tag"], LogLevel.Severity>

const logged = (event: StackEvent): Effect.Effect<void> => {
  const level = levels[event._tag]
  const line = Effect.logWithLevel(level)(lineOf(event))
  // A view that shows events recognizes their log lines by this annotation, and hides them.
  return level === "Debug" ? line : Effect.annotateLogs(line, "stacksapi.event", event._tag)
}

/** The text of an event's log line. */
const lineOf = (event: StackEvent): string => {
  switch (event._tag) {
    case "Registered":
    case "ReRegistered":
      return `${event._tag} ${event.stackKey} for queue ${event.queueKey}`
    case "Paused":
    case "Resumed":
    case "Stopped":
      return event._tag
    case "StartsResumed":
      return "A job has started: starts are resumed"
    case "Draining":
      return `Draining: ${event.inFlight} jobs in flight`
    case "Interrupted":
      return `Job ${event.job.id} is stopped, because it has not ended within ${Duration.format(event.after)}`
    case "Polled":
      return `Polled: ${event.listed} jobs listed, ${event.startable} may start`
    case "RequestFailed":
      return event.jobUuid === undefined
        ? `Request failed: ${event.error.message}`
        : `Requests fail because of job ${event.jobUuid}, which is requested alone from now on: ${event.error.message}`
    case "StartsSuspended":
      return `Starts of different jobs keep failing: nothing is reserved for ${Duration.format(event.delay)}. The last failure: ${event.message}`
    case "JobIgnored":
      return `Job "${event.jobUuid}" is ignored: ${event.reason}`
    case "NotAdmitted":
      return `Job ${event.job.id} is not admitted: ${event.reason}`
    case "InDoubt":
      return `It is not known whether job ${event.job.id} is reserved: ${event.reason}`
    case "ReservationLost":
      return `Lost the reservation of job ${event.job.id}`
    case "BackedOff":
      return `Job ${event.job.id} was not started, next try in ${Duration.format(event.delay)}: ${event.message}`
    case "Released":
      return `Released job ${event.job.id}: ${event.reason}`
    case "Failed":
      return `Job ${event.job.id} failed: ${event.detail}`
    case "FinishRejected":
      return `The service refuses to finish job ${event.job.id}: ${event.error.message}`
    case "NotReserved":
    case "Reserved":
    case "Started":
    case "Finished":
    case "AgentOwned":
    case "Canceled":
      return `${event._tag}: job ${event.job.id}`
  }
}
