/** Ends a stack: drains it, or detaches it from its jobs. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { StackEvent } from "../../StackEvent.ts"
import * as Metrics from "./metrics.ts"
import { release } from "./release.ts"
import { shutdownTimeout } from "./retryPolicies.ts"
import type { StackState } from "./stackState.ts"
import { requestStop } from "./watch.ts"

/** The loops that take new jobs. */
export interface Loops {
  readonly poller: Fiber.Fiber<unknown>
  readonly reserver: Fiber.Fiber<unknown>
}

/**
 * Takes no more jobs, releases waiting jobs, waits for running jobs for `shutdownGrace`, interrupts the remaining ones, and waits a limited
 * time for the service to accept their finishes. Takes at most `shutdownGrace` plus twice `shutdownTimeout`.
 */
export const drain = Effect.fnUntraced(function* (state: StackState, loops: Loops): Effect.fn.Return<void> {
  const { context, emit, settings } = state.dependencies
  const { drained } = state.signals
  state.phase = "draining"
  Metrics.setLastPoll(settings.queueKey, 0, context)
  state.pending.clear()
  state.poolMembership.update()
  yield* emit(StackEvent.Draining({ inFlight: state.inFlight().length }))
  for (const record of state.table.in("Running", "Stopping")) yield* requestStop(state, record, "Shutdown")
  const grace = Effect.andThen(Effect.timeoutOption(drained.await, settings.shutdownGrace), interruptRunners(state))
  yield* Effect.timeoutOption(Fiber.interrupt(loops.poller), shutdownTimeout).pipe(
    // The grace does not depend on the service: a request without a response must not prolong it.
    Effect.andThen(Effect.andThen(stopReserving(state, loops), releaseNotStarted(state))),
    (release) => Effect.all([release, grace], { concurrency: 2 }),
    Effect.andThen(
      Effect.all([releaseNotStarted(state), Effect.timeoutOption(drained.await, shutdownTimeout)], { concurrency: 2 })
    ),
    Effect.timeoutOption(Duration.sum(settings.shutdownGrace, Duration.times(shutdownTimeout, 2)))
  )
  yield* Deferred.succeed(state.signals.abortReserve, void 0)
  interruptRemaining(state)
  state.phase = "stopped"
  yield* emit(StackEvent.Stopped())
})

/**
 * Stops without releasing jobs, because the next process continues with them. Outcomes that arrive within `shutdownTimeout` are sent. A
 * drain that is under way is interrupted.
 */
export const detach = Effect.fnUntraced(function* (
  state: StackState,
  loops: Loops,
  draining: Fiber.Fiber<void> | undefined
): Effect.fn.Return<void> {
  const { emit } = state.dependencies
  const isDrained = state.phase === "stopped"
  state.phase = "stopped"
  // The jobs of a reserve request in flight are saved, so its response is not needed.
  yield* Deferred.succeed(state.signals.abortReserve, void 0)
  const fibers = [loops.poller, loops.reserver, ...(draining === undefined ? [] : [draining])]
  yield* Effect.timeoutOption(Fiber.interruptAll(fibers), shutdownTimeout)
  const running = state.table.in("Running", "Stopping")
  for (const record of running) yield* requestStop(state, record, "Detach")
  const runners = running.flatMap(({ fiber }) => fiber ?? [])
  yield* Effect.timeoutOption(Fiber.awaitAll(runners), shutdownTimeout)
  interruptRemaining(state)
  if (!isDrained) yield* emit(StackEvent.Stopped())
})

/** Waits up to `shutdownTimeout` for a reserve request in flight. If there is no response by then, its jobs are in doubt. */
const stopReserving = (state: StackState, { reserver }: Loops): Effect.Effect<void> =>
  Fiber.interrupt(reserver).pipe(
    Effect.timeoutOrElse({
      duration: shutdownTimeout,
      orElse: () =>
        Effect.andThen(Deferred.succeed(state.signals.abortReserve, void 0), Effect.asVoid(Fiber.await(reserver)))
    })
  )

/** Releases all waiting jobs and jobs in doubt. */
const releaseNotStarted = (state: StackState): Effect.Effect<void> =>
  Effect.gen(function* () {
    const starting = state.table.in("Starting")
    yield* Fiber.interruptAll(starting.flatMap(({ fiber }) => fiber ?? []))
    const waiting = state.table.in("Starting", "Reserving", "ReservingAgain", "Unconfirmed", "Reserved", "BackingOff")
    yield* release(state, waiting, "The stack shuts down")
  }).pipe(Effect.timeoutOption(shutdownTimeout), Effect.asVoid)

/** Interrupts the runners of all running jobs. The fiber of each job then finishes it. */
const interruptRunners = Effect.fnUntraced(function* (state: StackState): Effect.fn.Return<void> {
  const { emit, settings } = state.dependencies
  // Before the outcomes of these jobs. Jobs in the stage `Stopping` end for another reason.
  for (const { job } of state.table.in("Running")) {
    yield* emit(StackEvent.Interrupted({ job, after: settings.shutdownGrace }))
  }
  for (const { run } of state.table.in("Running", "Stopping")) {
    if (run !== undefined) Deferred.doneUnsafe(run.endRun, Exit.void)
  }
})

/** Interrupts the fibers of the remaining jobs without waiting: a runner may ignore its interruption, or the service may not respond. */
const interruptRemaining = (state: StackState): void => {
  for (const { fiber } of state.table.all()) fiber?.interruptUnsafe()
}
