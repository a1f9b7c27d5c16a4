/** What happens in a stack, told to whoever listens: as events, in metrics, and in the log. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { StackEvent } from "../../StackEvent.ts"
import * as Metrics from "./metrics.ts"
import type { Settings } from "./settings.ts"

export interface Journal {
  readonly emit: (event: StackEvent) => Effect.Effect<void>
  readonly events: Stream.Stream<StackEvent>
}

/** A reader who falls farther behind misses the oldest. */
const capacity = 8192
/** What a new reader still gets: with it nobody misses how the stack started. */
const replay = 16

export const make = Effect.fnUntraced(function* (
  onEvent: Settings["onEvent"]
): Effect.fn.Return<Journal, never, Scope.Scope> {
  const context = yield* Effect.context<never>()
  const hub = yield* Effect.acquireRelease(PubSub.sliding<StackEvent>({ capacity, replay }), PubSub.shutdown)
  Metrics.init(context)
  return {
    events: Stream.fromPubSub(hub),
    emit: (event) =>
      Effect.suspend(() => {
        PubSub.publishUnsafe(hub, event)
        Metrics.count(event, context)
        return onEvent === undefined ? logged(event) : Effect.andThen(logged(event), heard(onEvent(event)))
      })
  }
})

/** A listener's mistakes are not the stack's. */
const heard = (listening: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.catchDefect(listening, (defect) => Effect.logError("What listens to the stack's events died", defect))

/** What an operator wants to read, and how loudly. */
const logged = (event: StackEvent): Effect.Effect<void> => {
  switch (event._tag) {
    case "Registered":
    case "ReRegistered":
      return Effect.logInfo(`${event._tag} ${event.stackKey} for queue ${event.queueKey}`)
    case "Paused":
    case "Resumed":
    case "Stopped":
      return Effect.logInfo(event._tag)
    case "Draining":
      return Effect.logInfo(`Draining: ${event.inFlight} jobs in flight`)
    case "Polled":
      return Effect.logDebug(`Polled: ${event.listed} jobs listed, ${event.startable} may start`)
    case "Troubled":
      return Effect.logWarning(`Trouble: ${event.error.message}`)
    case "Lost":
      return Effect.logWarning(`Lost the reservation of job ${event.job.id}`)
    case "Quarantined":
      return Effect.logWarning(
        `Job ${event.job.id} was not started, next try in ${Duration.format(event.delay)}: ${event.message}`
      )
    case "Failed":
      return Effect.logWarning(`Job ${event.job.id} failed: ${event.detail}`)
    case "GivenUp":
      return Effect.logError(`The end of job ${event.job.id} was not taken: ${event.error.message}`)
    default:
      return Effect.logDebug(`${event._tag}: job ${event.job.id}`)
  }
}
