/**
 * The runtime of a stack. A job passes these stages, each in a file of its own:
 *
 *     poll ──> prioritize ──> reserve ──> start ──> (the JobRunner runs) ──> finish ──> settle
 *                               │           ^              │   ^
 *                               │           └── back off <─┘   │ stop
 *                               └─────> renew, watch ──────────┘
 *
 *     recover ──> reserve, start, finish
 *     start, shutDown ──> release
 *
 * - poll reads the queue and keeps the jobs that may start in `PendingJobs`.
 * - prioritize takes the most urgent of them, as many as there are slots.
 * - reserve saves them in the `JobStore`, reserves them, and resolves jobs in doubt.
 * - start gives a job its slot, calls its runner, and decides what happens to the job when the runner ends.
 * - renew extends the reservations; watch reads the jobs' states; both can tell a runner to stop.
 * - finish reports how a job ended until the service accepts it; release gives a job back.
 * - recover continues with the jobs of an earlier process; shutDown drains or detaches.
 *
 * The stage of a job is only in the `JobTable`. `StackState` is the state that all stages share.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type AttachedStack, JobRunner } from "../../JobRunner.ts"
import * as JobStore from "../../JobStore.ts"
import * as Notifications from "../../Notifications.ts"
import * as RateLimit from "../../RateLimit.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type { Options, Service, StartError } from "../../Stack.ts"
import { StackEvent } from "../../StackEvent.ts"
import { StacksClient } from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import * as Amounts from "../amounts.ts"
import { CurrentServiceClock, ServiceClock } from "../client/serviceClock.ts"
import { readStates } from "../jobStates/readStates.ts"
import { CurrentMeter } from "../meter.ts"
import { Admission } from "./admission.ts"
import * as Events from "./events.ts"
import * as Filtered from "./filtered.ts"
import * as Metrics from "./metrics.ts"
import { pollLoop } from "./poll.ts"
import * as Prioritize from "./prioritize.ts"
import { recover } from "./recover.ts"
import * as Registration from "./registration.ts"
import { release } from "./release.ts"
import { renewLoop } from "./renew.ts"
import { requestTimeout, within } from "./requestTimeout.ts"
import { reserveLoop } from "./reserve.ts"
import { OnRetry, shutdownTimeout } from "./retryPolicies.ts"
import { withAdvice } from "./serviceErrors.ts"
import * as ServiceMonitor from "./serviceMonitor.ts"
import { resolve, type Settings, slots } from "./settings.ts"
import * as ShutDown from "./shutDown.ts"
import { type Signals, type StackFailure, StackState } from "./stackState.ts"
import * as StartBreaker from "./startBreaker.ts"
import * as StateReader from "./stateReader.ts"
import * as Tokens from "./tokens.ts"
import { wakeIn } from "./wakeIn.ts"
import { watchStates } from "./watch.ts"

/** Registers a stack and starts it in the background. When the scope closes, the stack drains or detaches. */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Service, StartError, StacksClient | JobRunner | Scope.Scope> {
  const runner = yield* JobRunner
  const settings = yield* resolve(options, runner.outlivesStack ?? false)
  const limits = yield* Layer.build(RateLimit.layerMemory)
  const context = yield* Effect.context<never>()
  return yield* start(settings).pipe(
    Effect.provideService(CurrentMeter, Metrics.meter(context)),
    Effect.provideService(CurrentServiceClock, new ServiceClock()),
    RateLimit.withFallback(Context.get(limits, RateLimit.RateLimit)),
    Effect.mapError(withAdvice)
  )
})

const start = Effect.fnUntraced(function* (
  settings: Settings
): Effect.fn.Return<Service, StartError, StacksClient | JobRunner | Scope.Scope> {
  const store = Context.getOrUndefined(yield* Effect.context<never>(), JobStore.JobStore)
  const saved = store === undefined ? [] : yield* store.load(settings.key)
  // Finalizers run in reverse order: the jobs end first, then the notifications, the registration and the events.
  const state = yield* makeState(settings, store)
  yield* recover(state, saved)
  const membership = yield* (settings.pool ?? ownSlots(settings)).join({
    weight: settings.weight,
    taken: () => state.table.slots + state.keptSlots() + state.reservingAmounts.size,
    wanted: () => (Deferred.isDoneUnsafe(state.signals.failure) ? 0 : Prioritize.wantedSlots(state)),
    amounts: {
      held: () => state.heldAmounts(),
      aged: () => state.dependencies.admission.aged(),
      isWaiting: () => state.dependencies.admission.isWaiting
    },
    wake: () => {
      state.signals.work.openUnsafe()
      state.signals.demand.openUnsafe()
    }
  })
  state.poolMembership = membership
  yield* state.dependencies.runner.attach?.(attachedStack(state)) ?? Effect.void
  const { updateGauges } = yield* makeGauges(state)

  const run = <R>(loop: Effect.Effect<never, never, R>) => Effect.forkScoped(failOnDefect(state, loop))
  const reserver = yield* run(reserveLoop(state, updateGauges))
  // Polls run in the context with the monitored client, so that `ServiceMonitor` sees their requests.
  const poller = yield* run(Effect.provideContext(pollLoop(state), state.dependencies.context))
  yield* run(renewLoop(state))
  yield* run(watchStates(state))
  const loops: ShutDown.Loops = { poller, reserver }

  // The drain runs in a separate fiber: an interruption of one caller must not stop it, because other callers may wait for it.
  let draining: Fiber.Fiber<void> | undefined
  const startDrain = yield* Effect.cached(
    Effect.forkDetach(
      Effect.provideContext(Effect.ensuring(ShutDown.drain(state, loops), updateGauges), state.dependencies.context)
    ).pipe(
      Effect.tap((fiber) =>
        Effect.sync(() => {
          draining = fiber
        })
      )
    )
  )
  const drain = Effect.flatMap(Effect.uninterruptible(startDrain), Fiber.join)
  yield* Effect.addFinalizer(() =>
    settings.onClose === "detach" ? Effect.suspend(() => ShutDown.detach(state, loops, draining)) : drain
  )
  return makeService(state, drain, updateGauges)
})

/** The pool of a stack that shares its slots with no other stack. */
const ownSlots = ({ capacity }: Settings): Pick<NonNullable<Settings["pool"]>, "join"> => ({
  join: ({ amounts }) =>
    Effect.succeed({
      take: (count) => count,
      update: () => {},
      room: () => Amounts.room(capacity, amounts === undefined ? [] : [amounts])
    })
})

const attachedStack = (state: StackState): AttachedStack => {
  const { client, settings } = state.dependencies
  return {
    stackKey: settings.key,
    queueKey: settings.queueKey,
    hasJob: (jobUuid) => state.table.has(jobUuid),
    states: (jobUuids) =>
      readStates(client, settings.key, jobUuids).pipe(
        within(requestTimeout),
        RetryPolicy.withPolicy(RetryPolicy.none),
        Effect.map(({ states }) => states),
        Effect.provideContext(state.dependencies.context)
      )
  }
}

// -----------------------------------------------------------------------------
// What the stages share
// -----------------------------------------------------------------------------

const makeSignals = Effect.gen(function* () {
  const signals: Signals = {
    work: yield* Latch.make(false),
    demand: yield* Latch.make(false),
    reserveIdle: yield* Latch.make(true),
    renewIdle: yield* Latch.make(true),
    drained: yield* Latch.make(true),
    abortReserve: yield* Deferred.make<void>(),
    failure: yield* Deferred.make<never, StackFailure>(),
    idle: yield* Deferred.make<void>()
  }
  return signals
})

/** How long notifications are kept while the service fails. */
const notificationMemory = Duration.minutes(15)

const makeState = Effect.fnUntraced(function* (settings: Settings, store: JobStore.Service | undefined) {
  const { emit, events } = yield* Events.make(settings.onEvent)
  const signals = yield* makeSignals
  const clock = yield* Clock.Clock
  const serviceClock = (yield* CurrentServiceClock) ?? new ServiceClock()
  const failStack = (error: StackFailure) => Deferred.fail(signals.failure, withAdvice(error))
  const monitor = yield* ServiceMonitor.make(yield* StacksClient, settings, failStack)
  const onRetry = (error: StacksError) => emit(StackEvent.RequestFailed({ error }))
  const context = Context.add(yield* Effect.context<StacksClient>(), StacksClient, monitor.client).pipe(
    Context.add(OnRetry, onRetry)
  )
  const registration = yield* Effect.provideContext(Registration.make(monitor.client, settings, emit), context)
  const notifications = yield* Notifications.make({
    stackKey: settings.key,
    flushTimeout: shutdownTimeout,
    retryFor: notificationMemory
  }).pipe(
    Effect.provideService(StacksClient, {
      ...monitor.client,
      createStackNotifications: (request) =>
        registration.withReRegister(monitor.client.createStackNotifications(request))
    }),
    Effect.provideContext(context),
    Effect.orDie
  )
  const scope = yield* Scope.fork(yield* Effect.scope)
  const state: StackState = new StackState(
    {
      settings,
      client: monitor.client,
      runner: yield* JobRunner,
      store,
      registration,
      notifications,
      monitor,
      breaker: StartBreaker.make({
        emit,
        now: () => state.now(),
        onOpen: (message) => releaseWaiting(state, message),
        slots: () => state.limit(),
        wakeIn: (millis) => wakeIn(state, millis)
      }),
      states: StateReader.make(() => state, context),
      tokens: Tokens.make(
        monitor.client,
        settings,
        registration,
        context,
        () => state.now(),
        () => state.serviceNow(),
        monitor.successes
      ),
      admission: new Admission(() => state),
      emit,
      events,
      clock,
      serviceClock,
      context,
      scope
    },
    signals
  )
  // A notification that the service rejects is reported with its job.
  yield* notifications.results.pipe(
    Stream.runForEach((outcome) => {
      if (outcome._tag !== "Failed" || outcome.error === undefined) return Effect.void
      const { error, notification } = outcome
      return state.isFirstReport(`createStackNotifications ${notification.jobUuid}`)
        ? emit(StackEvent.RequestFailed({ error, jobUuid: notification.jobUuid }))
        : Effect.void
    }),
    Effect.forkScoped({ startImmediately: true })
  )
  return state
})

/** Releases waiting jobs when starts are suspended, so that other stacks can run them. */
const releaseWaiting = (state: StackState, message: string): Effect.Effect<void> =>
  Effect.suspend(() =>
    release(state, state.table.in("Reserved", "BackingOff"), `This host starts no jobs: ${message}`)
  ).pipe(Effect.forkIn(state.dependencies.scope, { startImmediately: true }), Effect.asVoid)

const makeGauges = Effect.fnUntraced(function* (state: StackState) {
  const { pool, queueKey } = state.dependencies.settings
  const capacity = () => pool?.capacity() ?? state.dependencies.settings.capacity
  const gauges = Metrics.gauges(pool === undefined ? undefined : queueKey, state.dependencies.context)
  const free = () => pool?.free() ?? state.freeSlots()
  const { clock, context } = state.dependencies
  Metrics.initLastPoll(queueKey, clock.currentTimeMillisUnsafe(), context)
  // Reset the gauges: jobs that remain after a detach are counted by the next process.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      // After a failure the queue should still be polled.
      if (!Deferred.isDoneUnsafe(state.signals.failure)) Metrics.setLastPoll(queueKey, 0, context)
      gauges({
        inFlight: 0,
        free: pool?.free() ?? 0,
        pending: 0,
        filtered: Filtered.none,
        finishing: 0,
        isSuspended: false,
        held: Amounts.none,
        capacity: capacity()
      })
    })
  )
  const updateGauges = Effect.sync(() =>
    gauges({
      inFlight: state.inFlight().length,
      free: free(),
      pending: state.pending.size,
      filtered: state.filtered,
      finishing: state.unfinished(),
      isSuspended: state.dependencies.breaker.isSuspended(),
      held: state.heldAmounts(),
      capacity: capacity()
    })
  )
  return { updateGauges }
})

/** Fails the stack if one of its loops dies, because it would stop working silently. */
const failOnDefect = <A, R>(state: StackState, effect: Effect.Effect<A, never, R>): Effect.Effect<A, never, R> =>
  Effect.onError(effect, (cause) =>
    Cause.hasInterruptsOnly(cause) ? Effect.void : Deferred.failCause(state.signals.failure, cause)
  )

// -----------------------------------------------------------------------------
// The service
// -----------------------------------------------------------------------------

const makeService = (state: StackState, drain: Effect.Effect<void>, updateGauges: Effect.Effect<void>): Service => {
  const { breaker, events, runner, settings } = state.dependencies
  return {
    status: Effect.sync(() => ({
      key: settings.key,
      queueKey: settings.queueKey,
      phase: state.phase,
      isPaused: state.isPaused,
      lastPolledAt: state.lastPolledAt,
      sincePolled: state.polledAt === undefined ? undefined : Duration.millis(state.now() - state.polledAt),
      maxInFlight: state.limit(),
      inFlight: state.inFlight().map(({ job }) => job),
      pending: state.pending.size,
      backingOff: state.table.count("Reserved", "BackingOff"),
      inDoubt:
        state.table.count("ReservingAgain", "Unconfirmed") + state.table.count("FinishDelayed") - state.unfinished(),
      finishing: state.unfinished(),
      amounts: state.heldAmounts(),
      startsSuspended: breaker.isSuspended(),
      runnerUnavailable: runner.unavailable?.()
    })),
    events,
    setMaxInFlight: (count) =>
      Effect.flatMap(slots(count), (maxInFlight) => {
        state.maxInFlight = maxInFlight
        state.wake()
        return updateGauges
      }),
    drain,
    awaitIdle: Deferred.await(state.signals.idle),
    awaitFailure: Deferred.await(state.signals.failure)
  }
}
