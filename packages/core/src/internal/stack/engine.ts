/**
 * A stack at work. Three fibers and one for each job:
 *
 * - the poller looks at the queue and keeps the candidates, as many as there is use for;
 * - the taker reserves candidates, never more than there are free slots, and starts them;
 * - the keeper listens for reservations that could not be renewed;
 * - each job's own fiber holds its slot: whatever way it ends, the slot is free again.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AgentQueryRules from "../../AgentQueryRules.ts"
import { JobRunner } from "../../JobRunner.ts"
import * as Notifications from "../../Notifications.ts"
import * as Reservations from "../../Reservations.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import * as ScheduledJobs from "../../ScheduledJobs.ts"
import type { SlotPool } from "../../SlotPool.ts"
import type { Service, Status } from "../../Stack.ts"
import { StackEvent } from "../../StackEvent.ts"
import { StacksClient } from "../../StacksClient.ts"
import type { CursorStalled, StacksError } from "../../StacksError.ts"
import { isAgentOwned, isFinal, MaxBatchSize, type ScheduledJob } from "../../StacksSchema.ts"
import { CurrentMeter } from "../meter.ts"
import { pollOf } from "../sharedStates.ts"
import { Candidates } from "./candidates.ts"
import * as Desks from "./desks.ts"
import { isLockedOut, isNotFound, withAdvice } from "./fatal.ts"
import * as JobId from "./jobId.ts"
import { type Departure, Ending, end, type InFlight, live, type World } from "./jobLife.ts"
import * as Journal from "./journal.ts"
import * as Metrics from "./metrics.ts"
import { brief, farewellTimeout, patient } from "./patience.ts"
import { Quarantine } from "./quarantine.ts"
import * as Registration from "./registration.ts"
import { type Settings, slots } from "./settings.ts"
import { inJobSpan, inReserveSpan, type ReserveSpan } from "./spans.ts"

/** How long a request that reserves may take: it can't be interrupted meanwhile. */
const reserveTimeout = Duration.seconds(15)
/** A `Retry-After` beyond this is not believed. */
const maxRestMillis = 5 * 60_000
/**
 * How long a request that reserves has the next one wait, where most slots are taken: the service takes ten in a second, and
 * jobs that end one by one would use them up for one job each.
 */
const paceMillis = 100
/** How many pages a poll reads though there are jobs enough: for the urgent ones that are not among the oldest. */
const minPages = 2

/** Starts a stack in the background; when the scope closes it drains and takes leave. */
export const make = (settings: Settings): Effect.Effect<Service, StacksError, StacksClient | JobRunner | Scope.Scope> =>
  Effect.contextWith((context: Context.Context<StacksClient | JobRunner | Scope.Scope>) =>
    start(settings).pipe(Effect.provideService(CurrentMeter, Metrics.meter(context)), Effect.mapError(withAdvice))
  )

const start = Effect.fnUntraced(function* (
  settings: Settings
): Effect.fn.Return<Service, StacksError, StacksClient | JobRunner | Scope.Scope> {
  const { key: stackKey, ledger, pool, queueKey, reservationExpiry } = settings
  const client = yield* StacksClient
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<StacksClient>()
  const scope = yield* Effect.scope
  const now = () => clock.currentTimeMillisUnsafe()

  // What is made first ends last: the jobs, then the notifications, then the registration.
  const { emit, events } = yield* Journal.make(settings.onEvent)
  const patiently = patient((error) => emit(StackEvent.RequestFailed({ error })))
  const registration = yield* Registration.make(client, settings, patiently, emit)
  const notifications = yield* Notifications.make({ stackKey, flushTimeout: farewellTimeout })
  const renewal = yield* Reservations.renewing({ stackKey, reservationExpiry })
  const world: World = {
    settings,
    client,
    runner: yield* JobRunner,
    registration,
    notifications,
    states: pollOf(client, stackKey),
    stateDesk: yield* Desks.ofStates(client, settings, registration, patiently),
    tokenDesk: yield* Desks.ofTokens(client, settings, registration),
    patient: patiently,
    emit
  }

  // ---------------------------------------------------------------------------
  // What the stack has
  // ---------------------------------------------------------------------------

  const failure = yield* Deferred.make<never, StacksError | CursorStalled>()
  const idle = yield* Deferred.make<void>()
  /** Open when there may be something to take. */
  const work = yield* Latch.make(false)
  /** Open when there may be use for more candidates. */
  const hunger = yield* Latch.make(false)
  /** Open while no request reserves. */
  const calm = yield* Latch.make(true)
  /** Open when no job holds a slot. */
  const empty = yield* Latch.make(true)
  /** Done when a request that reserves has had its time. */
  const hurry = yield* Deferred.make<void>()

  /** Jobs that hold a slot. */
  const inFlight = new Map<string, InFlight & { fiber?: Fiber.Fiber<unknown> }>()
  /** Jobs that a request was to reserve whose answer is not known; they hold a slot too. */
  const uncertain = new Map<string, ScheduledJob>()
  /** Jobs that are reserved and wait for another try; nothing new takes their place meanwhile. */
  const held = new Map<string, ScheduledJob>()
  /** Jobs whose runner an earlier life of the stack has started. */
  const returning = new Set<string>()
  /** When jobs left, oldest first: a poll that began before may still list them. */
  const left = new Map<string, number>()
  const candidates = new Candidates()
  const quarantine = new Quarantine()
  const isForUs = settings.tags === undefined ? () => true : AgentQueryRules.matcher(settings.tags)
  let maxInFlight = settings.maxInFlight
  let phase: Status["phase"] = "running"
  let isPaused = false
  let lastPolledAt: Status["lastPolledAt"]
  let busyUntil = 0
  /** Whether it was told that there are jobs with unusable ids. */
  let isWarned = false
  /** Nothing is reserved before then: the service asked for it, or is in trouble. */
  let restUntil = 0
  let troubles = 0
  let reservedAt = 0
  /** Slots for jobs of the next request that reserves. */
  let pending = 0

  const free = () => maxInFlight - inFlight.size - uncertain.size
  /** How many new jobs there may be slots for. */
  const spare = () => Math.min(free() - held.size, pool?.free() ?? Number.POSITIVE_INFINITY)
  const limit = () => Math.min(maxInFlight, pool?.size() ?? Number.POSITIVE_INFINITY)
  const gauges = Metrics.gauges(pool === undefined ? undefined : queueKey, context)
  const measure = () => gauges({ inFlight: inFlight.size, free: pool?.free() ?? free(), waiting: candidates.size })
  // What is left is another life's to measure, maybe in another process.
  yield* Effect.addFinalizer(() => Effect.sync(() => gauges({ inFlight: 0, free: pool?.free() ?? 0, waiting: 0 })))
  const seat = yield* (pool ?? ownSlots).join({
    weight: settings.weight,
    taken: () => inFlight.size + uncertain.size + held.size + pending,
    wanted: () =>
      phase !== "running" || isPaused || restUntil > now() || Deferred.isDoneUnsafe(failure)
        ? 0
        : Math.min(candidates.size, free() - held.size, MaxBatchSize - uncertain.size),
    wake: () => {
      work.openUnsafe()
      hunger.openUnsafe()
    }
  })
  const wake = () => {
    work.openUnsafe()
    hunger.openUnsafe()
    seat.changed()
  }
  const giveUp = (error: StacksError | CursorStalled) => Deferred.fail(failure, withAdvice(error))
  const recover = (seen: number) => Effect.catch(registration.renew(seen), giveUp)

  // ---------------------------------------------------------------------------
  // Jobs
  // ---------------------------------------------------------------------------

  const depart = (job: ScheduledJob, departure: Departure): Effect.Effect<void> => {
    if (departure._tag === "Done") {
      quarantine.clear(job.id)
      return notifications
        .release(job.id)
        .pipe(Effect.andThen(renewal.release(job.id)), Effect.andThen(ledger.strike([job.id])))
    }
    const { delay } = quarantine.add(job.id, now())
    held.set(job.id, job)
    return emit(StackEvent.BackedOff({ job, delay, message: departure.message }))
  }

  /** Gives a reserved job a slot and starts it. The slot goes with the fiber. */
  const launch = (job: ScheduledJob, reservedIn?: ReserveSpan): Effect.Effect<void> =>
    Effect.suspend(() => {
      const entry: InFlight & { fiber?: Fiber.Fiber<unknown> } = {
        job,
        ending: Deferred.makeUnsafe(),
        failures: quarantine.failuresOf(job.id)
      }
      // At one go: whoever counts in between must not find a slot free.
      inFlight.set(job.id, entry)
      uncertain.delete(job.id)
      held.delete(job.id)
      empty.closeUnsafe()
      const life = live(world, entry).pipe(
        // None of its ends fails. What does is a mistake of ours, and must not keep the job reserved.
        Effect.catchCause((cause) =>
          Effect.as(Effect.logError(`Job ${job.id} was dropped`, cause), { _tag: "Done" } as const)
        ),
        Effect.flatMap((departure) => depart(job, departure)),
        inJobSpan(job, stackKey, reservedIn)
      )
      return Effect.map(Effect.forkDetach(life), (fiber) => {
        entry.fiber = fiber
        fiber.addObserver(() => {
          inFlight.delete(job.id)
          busyUntil = now()
          left.delete(job.id)
          left.set(job.id, busyUntil)
          if (inFlight.size === 0) empty.openUnsafe()
          wake()
        })
      })
    })

  // ---------------------------------------------------------------------------
  // The taker
  // ---------------------------------------------------------------------------

  const rest = (asked?: Duration.Duration) => {
    troubles += 1
    const delay = asked === undefined ? Math.min(30_000, 500 * 2 ** troubles) : Duration.toMillis(asked)
    restUntil = now() + Math.min(delay, maxRestMillis)
  }

  /** A job of an earlier life that can't be reserved: an agent of that life may be running it, on a slot of ours. */
  const takeBack = Effect.fnUntraced(function* (job: ScheduledJob) {
    const state = yield* world.stateDesk.ask(job.id)
    if (state !== undefined && isAgentOwned(state)) {
      yield* launch(job)
      return seat.changed()
    }
    yield* emit(StackEvent.NotReserved({ job }))
    yield* ledger.strike([job.id])
  })

  /** From the request to the last entry in our books nothing may come between. */
  const reserve = (batch: ReadonlyArray<ScheduledJob>) =>
    Effect.uninterruptible(
      inReserveSpan(batch.length, stackKey, (span) =>
        Effect.gen(function* () {
          const seen = registration.current()
          const isEntered = yield* ledger
            .enter(batch.filter(({ id }) => !uncertain.has(id)))
            .pipe(
              Effect.timeoutOrElse({ duration: reserveTimeout, orElse: () => Effect.succeed(false) }),
              Effect.raceFirst(Effect.as(Deferred.await(hurry), false))
            )
          if (!isEntered) return rest()
          for (const job of batch) uncertain.set(job.id, job)
          pending = 0
          const { failed, notReserved, reserved } = yield* Reservations.reserve({
            stackKey,
            jobUuids: batch.map(({ id }) => id),
            reservationExpiry
          }).pipe(
            RetryPolicy.withPolicy(RetryPolicy.none),
            Effect.timeoutOrElse({ duration: reserveTimeout, orElse: () => Effect.succeed(noAnswer) }),
            Effect.raceFirst(Effect.as(Deferred.await(hurry), noAnswer))
          )
          for (const id of reserved) {
            const job = uncertain.get(id)
            if (job === undefined) continue
            // Refusals until now say nothing of whether it starts.
            quarantine.clear(id)
            yield* renewal.hold(id)
            yield* emit(StackEvent.Reserved({ job }))
            if (phase === "running") {
              yield* launch(job, span)
            } else {
              held.set(id, job)
              uncertain.delete(id)
            }
          }
          for (const id of notReserved) {
            const job = uncertain.get(id)
            if (job === undefined) continue
            uncertain.delete(id)
            if (returning.has(id)) {
              yield* Effect.forkIn(takeBack(job), scope)
              continue
            }
            quarantine.add(id, now())
            yield* emit(StackEvent.NotReserved({ job }))
          }
          yield* ledger.strike(notReserved.filter((id) => !returning.has(id)))
          // What is left of the batch may be reserved or not: asking again tells, and extends what is.
          const [trouble] = failed
          if (trouble !== undefined) yield* troubled(trouble.error, seen)
          else if (uncertain.size > 0) rest()
          else troubles = 0
        })
      )
    )

  const troubled = Effect.fnUntraced(function* (error: StacksError, seen: number) {
    yield* emit(StackEvent.RequestFailed({ error }))
    if (isLockedOut(error) || error._tag === "InvalidRequest") {
      yield* giveUp(error)
    } else if (isNotFound(error)) {
      // It may take long, and may be interrupted.
      yield* Effect.forkIn(recover(seen), scope)
    } else if (error._tag === "ErrorResponse" && !error.isRetryable) {
      // Refused as a whole, and so it would be again: without the jobs in it the next one may not be.
      for (const id of uncertain.keys()) quarantine.add(id, now())
      yield* ledger.strike(Array.from(uncertain.keys()))
      uncertain.clear()
    }
    rest(error._tag === "ErrorResponse" ? error.retryAfter : undefined)
  })

  const mayTake = ({ id }: ScheduledJob) =>
    !(inFlight.has(id) || uncertain.has(id) || held.has(id) || quarantine.has(id, now()))

  const takeOnce = Effect.gen(function* () {
    if (phase !== "running") return
    for (const job of held.values()) {
      if (free() <= 0 || isPaused) break
      if (!quarantine.has(job.id, now())) yield* launch(job)
    }
    if (restUntil > now()) return
    const pause = reservedAt + paceMillis - now()
    if (pause > 0 && uncertain.size === 0 && spare() < limit() / 4) yield* Effect.sleep(pause)
    const again = Array.from(uncertain.values())
    const room = isPaused ? 0 : Math.min(free() - held.size, MaxBatchSize - again.length, candidates.size)
    const fresh = candidates.take(room > 0 ? seat.take(room) : 0, mayTake)
    pending = fresh.length
    seat.changed()
    const batch = again.concat(fresh)
    hunger.openUnsafe()
    if (batch.length > 0) {
      calm.closeUnsafe()
      yield* Effect.ensuring(reserve(batch), calm.open)
      pending = 0
      reservedAt = now()
      wake()
    }
    measure()
  })

  const taker = Effect.forever(
    Effect.suspend(() => {
      work.closeUnsafe()
      return Effect.andThen(takeOnce, work.await)
    })
  )

  // ---------------------------------------------------------------------------
  // The poller
  // ---------------------------------------------------------------------------

  const onPage = Effect.fnUntraced(function* (page: ScheduledJobs.PolledPage) {
    const startedAt = DateTime.toEpochMillis(page.startedAt)
    if (page.index === 0) {
      candidates.clear()
      for (const [id, leftAt] of left) {
        if (leftAt >= startedAt) break
        left.delete(id)
      }
    }
    if (page.dispatchPaused !== isPaused) {
      isPaused = page.dispatchPaused
      yield* emit(isPaused ? StackEvent.Paused() : StackEvent.Resumed())
    }
    candidates.add(page.jobs.filter((job) => JobId.isUsable(job.id) && !left.has(job.id) && mayTake(job)))
    work.openUnsafe()
    const strange = isWarned ? undefined : page.jobs.find(({ id }) => !JobId.isUsable(id))
    if (strange !== undefined) {
      isWarned = true
      yield* Effect.logWarning(`Jobs with ids that can't be used are left alone, such as "${JobId.shown(strange.id)}"`)
    }
    if (page.isLast || page.dispatchPaused) return false
    if (page.index + 1 < minPages) return true
    const until = startedAt + pollMillis
    while (candidates.size >= spare() || restUntil > now()) {
      const time = until - now()
      if (time <= 0) return false
      hunger.closeUnsafe()
      // Whole milliseconds: a shorter sleep may end before it began, by rounding.
      yield* Effect.timeoutOption(hunger.await, Math.ceil(time))
    }
    return now() < until
  })
  const pollMillis = Math.max(1000, Duration.toMillis(settings.pollInterval))

  const onPoll = Effect.fnUntraced(function* (poll: ScheduledJobs.Poll) {
    if (poll.failure !== undefined) {
      yield* emit(StackEvent.RequestFailed({ error: poll.failure }))
    } else {
      lastPolledAt = DateTime.makeUnsafe(now())
      yield* emit(StackEvent.Polled({ listed: poll.listed.length, startable: poll.jobs.length }))
    }
    wake()
    const isEmpty =
      poll.failure === undefined &&
      poll.isComplete &&
      !poll.listed.some((job) => isForUs(job.agentQueryRules) && JobId.isUsable(job.id))
    const isQuiet = inFlight.size === 0 && uncertain.size === 0 && held.size === 0
    if (isEmpty && isQuiet && DateTime.toEpochMillis(poll.startedAt) >= busyUntil) yield* Deferred.succeed(idle, void 0)
    // The next poll would list what is about to be reserved, and be the shorter by it.
    yield* Effect.yieldNow
    if (uncertain.size > 0) yield* Effect.timeoutOption(calm.await, pollMillis)
  })

  /** After what ends the stream of polls: whether another one may begin. */
  const onPollsEnd = Effect.fnUntraced(function* (error: StacksError | CursorStalled, seen: number) {
    if (isNotFound(error)) return yield* recover(seen)
    if (error._tag === "DecodeError" || (error._tag === "ErrorResponse" && error.reason._tag === "UnexpectedStatus")) {
      yield* emit(StackEvent.RequestFailed({ error }))
      return
    }
    yield* giveUp(error)
    return yield* Effect.never
  })

  const poller = Effect.suspend(() => {
    const seen = registration.current()
    return ScheduledJobs.polls({
      stackKey,
      clusterQueueKey: queueKey,
      interval: settings.pollInterval,
      tags: settings.tags,
      onPage
    }).pipe(
      Stream.runForEach(onPoll),
      Effect.catch((error) => onPollsEnd(error, seen))
    )
  }).pipe(Effect.andThen(Effect.sleep(pollMillis)), Effect.forever)

  // ---------------------------------------------------------------------------
  // The keeper
  // ---------------------------------------------------------------------------

  const onNotRenewed = Effect.fnUntraced(function* (jobUuid: string) {
    if (held.delete(jobUuid)) wake()
    const entry = inFlight.get(jobUuid)
    if (entry === undefined) return
    const state = yield* world.stateDesk.ask(jobUuid)
    // An agent has it, or it is over: the runner knows, or will be told by the poll of states.
    if (state !== undefined && (isAgentOwned(state) || isFinal(state))) return
    end(entry, Ending.Lost())
  })

  const keeper = Stream.runForEach(renewal.lost, (jobUuid) => Effect.forkChild(onNotRenewed(jobUuid)))

  // ---------------------------------------------------------------------------
  // The end
  // ---------------------------------------------------------------------------

  /** Without this fiber the stack would stand still: it fails rather than that. */
  const vital = <A, R>(effect: Effect.Effect<A, never, R>) =>
    Effect.onError(effect, (cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Deferred.failCause(failure, cause)
    )

  for (const { isStarted, job } of yield* ledger.entries) {
    uncertain.set(job.id, job)
    if (isStarted) returning.add(job.id)
  }

  const taking = yield* Effect.forkScoped(vital(taker))
  const polling = yield* Effect.forkScoped(vital(poller))
  yield* Effect.forkScoped(vital(keeper))

  /** There is no un-reserve, but a reservation can be made short. */
  const handOver = Effect.suspend(() => {
    const jobUuids = [...held.keys(), ...uncertain.keys()]
    held.clear()
    return Effect.forEach(jobUuids, renewal.release, { discard: true }).pipe(
      Effect.andThen(Reservations.reserve({ stackKey, jobUuids, reservationExpiry: "1 second" })),
      RetryPolicy.withPolicy(brief),
      Effect.timeoutOption(farewellTimeout)
    )
  })

  const stopTaking = Fiber.interrupt(taking).pipe(
    Effect.timeoutOrElse({
      duration: farewellTimeout,
      orElse: () => Effect.andThen(Deferred.succeed(hurry, void 0), Fiber.await(taking))
    }),
    Effect.andThen(handOver)
  )

  const shutdown = Effect.gen(function* () {
    phase = "draining"
    candidates.clear()
    seat.changed()
    yield* emit(StackEvent.Draining({ inFlight: inFlight.size }))
    yield* Effect.timeoutOption(Fiber.interrupt(polling), farewellTimeout)
    yield* Effect.all([stopTaking, Effect.timeoutOption(empty.await, settings.shutdownGrace)], { concurrency: 2 })
    for (const entry of inFlight.values()) end(entry, Ending.Shutdown())
    yield* Effect.all([handOver, Effect.timeoutOption(empty.await, farewellTimeout)], { concurrency: 2 })
    // What is still here does not heed its interruption, or the service does not answer: neither is waited for.
    for (const { fiber } of inFlight.values()) fiber?.interruptUnsafe()
    phase = "stopped"
    measure()
    yield* emit(StackEvent.Stopped())
  })

  // In a fiber of its own: who asked for it may leave, and others may ask too.
  const shuttingDown = yield* Effect.cached(Effect.forkDetach(Effect.provideContext(shutdown, context)))
  const drain = Effect.flatMap(Effect.uninterruptible(shuttingDown), Fiber.join)

  /** Stops, and touches nothing: the jobs are another life's. */
  const leave = Effect.gen(function* () {
    phase = "stopped"
    // What a request reserves is in the ledger already: its answer is not waited for.
    yield* Deferred.succeed(hurry, void 0)
    yield* Effect.timeoutOption(Fiber.interruptAll([polling, taking]), farewellTimeout)
    const fibers = Array.from(inFlight.values()).flatMap(({ fiber }) => fiber ?? [])
    yield* Effect.timeoutOption(Fiber.interruptAll(fibers), farewellTimeout)
    yield* emit(StackEvent.Stopped())
  })
  yield* Effect.addFinalizer(() => (settings.onClose === "leave" ? leave : drain))

  return {
    status: Effect.sync(() => ({
      key: stackKey,
      queueKey,
      phase,
      isPaused,
      lastPolledAt,
      maxInFlight: limit(),
      inFlight: Array.from(inFlight.values(), ({ job }) => job),
      pending: candidates.size,
      backingOff: held.size
    })),
    events,
    setMaxInFlight: (count) =>
      Effect.sync(() => {
        maxInFlight = slots(count)
        wake()
        measure()
      }),
    drain,
    awaitIdle: Deferred.await(idle),
    awaitFailure: Deferred.await(failure)
  }
})

/** The slots of a stack that shares them with nobody. */
const ownSlots: Pick<SlotPool, "join"> = {
  join: () => Effect.succeed({ take: (count) => count, changed: constVoid })
}

const noAnswer: Reservations.ReserveResult = { reserved: [], notReserved: [], failed: [] }
