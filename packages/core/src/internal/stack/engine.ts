/**
 * A stack at work. Three fibers and one for each job:
 *
 * - the poller looks at the queue and replaces the candidates;
 * - the taker reserves candidates, never more than there are free slots, and starts them;
 * - the keeper listens for reservations that could not be renewed;
 * - each job's own fiber holds its slot: whatever way it ends, the slot is free again.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import * as Metric from "effect/Metric"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as AgentQueryRules from "../../AgentQueryRules.ts"
import { JobRunner } from "../../JobRunner.ts"
import * as Notifications from "../../Notifications.ts"
import * as Reservations from "../../Reservations.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import * as ScheduledJobs from "../../ScheduledJobs.ts"
import { StackEvent } from "../../StackEvent.ts"
import { StacksClient } from "../../StacksClient.ts"
import type { CursorStalled, StacksError } from "../../StacksError.ts"
import { isAgentOwned, isFinal, MaxBatchSize, type ScheduledJob } from "../../StacksSchema.ts"
import { lookUp, pollOf } from "../sharedStates.ts"
import { Candidates } from "./candidates.ts"
import { type Departure, type InFlight, live, Stop, type World } from "./jobLife.ts"
import * as Metrics from "./metrics.ts"
import { patient } from "./patience.ts"
import { Quarantine } from "./quarantine.ts"
import { type Settings, slots } from "./settings.ts"

export interface Status {
  readonly phase: "running" | "draining" | "stopped"
  readonly isPaused: boolean
  readonly maxInFlight: number
  readonly inFlight: ReadonlyArray<ScheduledJob>
  /** Jobs that may start and wait for a slot, as far as the last poll saw them. */
  readonly waiting: number
  /** Jobs that are reserved and wait for another try. */
  readonly held: number
}

export interface Engine {
  readonly status: Effect.Effect<Status>
  readonly events: Stream.Stream<StackEvent>
  readonly setMaxInFlight: (count: number) => Effect.Effect<void>
  /** Takes no more, lets what runs end within the grace, stops the rest. */
  readonly drain: Effect.Effect<void>
  /** Succeeds when the queue is empty and all is done. */
  readonly idle: Effect.Effect<void>
  /** Fails when the stack can't go on. */
  readonly failed: Effect.Effect<never, StacksError | CursorStalled>
}

/** How long a request that reserves may take: it can't be interrupted meanwhile. */
const reserveTimeout = Duration.seconds(15)
/** How long the last words to the service may take, each. */
const farewellTimeout = Duration.seconds(5)
const maxTries = 5

export const make = Effect.fnUntraced(function* (
  settings: Settings
): Effect.fn.Return<Engine, StacksError, StacksClient | JobRunner | Scope.Scope> {
  const { key: stackKey, queueKey, reservationExpiry } = settings
  const client = yield* StacksClient
  const runner = yield* JobRunner

  const hub = yield* Effect.acquireRelease(PubSub.sliding<StackEvent>(8192), PubSub.shutdown)
  const emit = (event: StackEvent): Effect.Effect<void> => {
    PubSub.publishUnsafe(hub, event)
    return Effect.andThen(Metrics.count(event), logged(event))
  }
  const patiently = patient((error) => emit(StackEvent.Troubled({ error })))

  // ---------------------------------------------------------------------------
  // Registration
  // ---------------------------------------------------------------------------

  const { key, metadata, type } = settings
  const register = client
    .registerStack({ key, type, queueKey, metadata })
    .pipe(RetryPolicy.withPolicy(patiently), Effect.asVoid)
  const registering = yield* Semaphore.make(1)
  let registeredAt = 0
  const recover: Effect.Effect<void, StacksError> = Effect.flatMap(Clock.currentTimeMillis, (asked) =>
    registering.withPermit(
      Effect.suspend(() =>
        // Somebody else has noticed too, and was faster.
        registeredAt > asked
          ? Effect.void
          : Effect.gen(function* () {
              yield* register
              registeredAt = yield* Clock.currentTimeMillis
              yield* emit(StackEvent.ReRegistered({ stackKey, queueKey }))
            })
      )
    )
  )

  yield* register
  yield* emit(StackEvent.Registered({ stackKey, queueKey }))
  yield* Effect.addFinalizer(() =>
    client.deregisterStack({ stackKey }).pipe(
      RetryPolicy.withPolicy(RetryPolicy.none),
      Effect.timeout(farewellTimeout),
      Effect.catch((error) => Effect.logWarning(`The stack could not be deregistered: ${error.message}`))
    )
  )

  // ---------------------------------------------------------------------------
  // What the stack has
  // ---------------------------------------------------------------------------

  const notifications = yield* Notifications.make({ stackKey, flushTimeout: farewellTimeout })
  const renewal = yield* Reservations.renewing({ stackKey, reservationExpiry })
  const fibers = yield* FiberSet.make<void>()
  const failure = yield* Deferred.make<never, StacksError | CursorStalled>()
  const idle = yield* Deferred.make<void>()
  /** Open when there may be something to take. */
  const work = yield* Latch.make(false)

  /** Jobs that hold a slot. */
  const inFlight = new Map<string, InFlight>()
  /** Jobs that a request was to reserve whose answer is not known; they hold a slot too. */
  const uncertain = new Map<string, ScheduledJob>()
  /** Jobs that are reserved and wait for another try. */
  const held = new Map<string, ScheduledJob>()
  const candidates = new Candidates()
  const quarantine = new Quarantine()
  const isForUs = settings.tags === undefined ? () => true : AgentQueryRules.matcher(settings.tags)
  let maxInFlight = settings.maxInFlight
  let phase: Status["phase"] = "running"
  let isPaused = false
  let busyUntil = 0
  /** Nothing is reserved before then: the service asked for it, or is in trouble. */
  let restUntil = 0
  let troubles = 0

  const world: World = {
    settings,
    client,
    runner,
    notifications,
    states: pollOf(client, stackKey),
    patient: patiently,
    emit,
    recover
  }

  const free = () => maxInFlight - inFlight.size - uncertain.size
  const measured = Effect.suspend(() =>
    Effect.andThen(
      Metric.update(Metrics.jobsInFlight, inFlight.size),
      Metric.update(Metrics.slotsAvailable, Math.max(0, free()))
    )
  )

  // ---------------------------------------------------------------------------
  // Jobs
  // ---------------------------------------------------------------------------

  const depart = Effect.fnUntraced(function* (job: ScheduledJob, departure: Departure) {
    if (departure._tag === "Done") {
      quarantine.clear(job.id)
      return yield* renewal.release(job.id)
    }
    const { delay } = quarantine.add(job.id, yield* Clock.currentTimeMillis)
    held.set(job.id, job)
    yield* emit(StackEvent.Quarantined({ job, delay, message: departure.message }))
  })

  /** Gives a reserved job a slot and starts it. The slot goes with the fiber. */
  const start = (job: ScheduledJob): Effect.Effect<void> =>
    Effect.suspend(() => {
      const entry: InFlight = { job, stop: Deferred.makeUnsafe() }
      inFlight.set(job.id, entry)
      held.delete(job.id)
      const mayTryAgain = quarantine.failuresOf(job.id) < maxTries
      const leave = Effect.flatMap(Clock.currentTimeMillis, (now) => {
        inFlight.delete(job.id)
        busyUntil = now
        work.openUnsafe()
        return measured
      })
      return live(world, entry, mayTryAgain).pipe(
        Effect.flatMap((departure) => depart(job, departure)),
        Effect.onExit(() => leave),
        FiberSet.run(fibers),
        Effect.asVoid
      )
    })

  // ---------------------------------------------------------------------------
  // The taker
  // ---------------------------------------------------------------------------

  const rest = (now: number, asked: Duration.Duration | undefined) => {
    troubles += 1
    const delay = asked === undefined ? Math.min(30_000, 500 * 2 ** troubles) : Duration.toMillis(asked)
    restUntil = now + delay
  }

  /** From the request to the last entry in our books nothing may come between. */
  const reserve = (batch: ReadonlyArray<ScheduledJob>): Effect.Effect<void> =>
    Effect.uninterruptible(
      Effect.gen(function* () {
        for (const job of batch) uncertain.set(job.id, job)
        const { failed, notReserved, reserved } = yield* Reservations.reserve({
          stackKey,
          jobUuids: batch.map(({ id }) => id),
          reservationExpiry
        }).pipe(
          RetryPolicy.withPolicy(RetryPolicy.none),
          Effect.provideService(StacksClient, client),
          Effect.timeoutOrElse({ duration: reserveTimeout, orElse: () => Effect.succeed(noAnswer) })
        )
        const now = yield* Clock.currentTimeMillis
        for (const id of reserved) {
          const job = uncertain.get(id)
          if (job === undefined) continue
          uncertain.delete(id)
          yield* renewal.hold(id)
          yield* emit(StackEvent.Reserved({ job }))
          if (phase === "running") yield* start(job)
          else held.set(id, job)
        }
        for (const id of notReserved) {
          const job = uncertain.get(id)
          if (job === undefined) continue
          uncertain.delete(id)
          quarantine.add(id, now)
          yield* emit(StackEvent.NotReserved({ job }))
        }
        // What is left of the batch may be reserved or not: asking again tells, and extends what is.
        const [trouble] = failed
        if (trouble === undefined && uncertain.size === 0) troubles = 0
        else yield* troubled(trouble?.error, now)
        yield* measured
      })
    )

  const troubled = Effect.fnUntraced(function* (error: StacksError | undefined, now: number) {
    if (error === undefined) return rest(now, undefined)
    yield* emit(StackEvent.Troubled({ error }))
    if (error._tag !== "ErrorResponse") return rest(now, undefined)
    switch (error.reason._tag) {
      case "NotFound":
        yield* recovered
        break
      case "Unauthorized":
      case "Forbidden":
        yield* Deferred.fail(failure, error)
        break
    }
    rest(now, error.retryAfter)
  })

  const recovered = Effect.catch(recover, (error) => Deferred.fail(failure, error))

  const takeOnce = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    if (phase !== "running") return
    for (const job of held.values()) {
      if (free() <= 0 || isPaused) break
      if (!quarantine.has(job.id, now)) yield* start(job)
    }
    if (restUntil > now) return
    const again = Array.from(uncertain.values())
    const room = Math.min(free(), MaxBatchSize - again.length)
    const fresh =
      isPaused || room <= 0
        ? []
        : candidates.take(
            room,
            ({ id }) => !(inFlight.has(id) || uncertain.has(id) || held.has(id) || quarantine.has(id, now))
          )
    const batch = [...again, ...fresh]
    if (batch.length === 0) return
    yield* reserve(batch)
    work.openUnsafe()
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

  const onPoll = Effect.fnUntraced(function* (poll: ScheduledJobs.Poll) {
    if (poll.failure !== undefined) yield* emit(StackEvent.Troubled({ error: poll.failure }))
    if (poll.dispatchPaused !== undefined && poll.dispatchPaused !== isPaused) {
      isPaused = poll.dispatchPaused
      yield* emit(isPaused ? StackEvent.Paused() : StackEvent.Resumed())
    }
    if (poll.failure === undefined || poll.listed.length > 0) {
      candidates.replace(poll.jobs)
      yield* emit(StackEvent.Polled({ listed: poll.listed.length, startable: poll.jobs.length }))
    }
    work.openUnsafe()
    const isEmpty =
      poll.failure === undefined && poll.isComplete && !poll.listed.some((job) => isForUs(job.agentQueryRules))
    const isQuiet = inFlight.size === 0 && uncertain.size === 0 && held.size === 0
    if (isEmpty && isQuiet && DateTime.toEpochMillis(poll.startedAt) >= busyUntil) yield* Deferred.succeed(idle, void 0)
  })

  /** What ends the stream of polls, and whether another one may begin. */
  const onPollsEnd = Effect.fnUntraced(function* (error: StacksError | CursorStalled) {
    if (error._tag === "ErrorResponse" && error.reason._tag === "NotFound") return yield* recovered
    if (error._tag === "DecodeError" || (error._tag === "ErrorResponse" && error.reason._tag === "UnexpectedStatus")) {
      yield* emit(StackEvent.Troubled({ error }))
      return yield* Effect.sleep("1 second")
    }
    yield* Deferred.fail(failure, error)
    return yield* Effect.never
  })

  const poller = ScheduledJobs.polls({
    stackKey,
    clusterQueueKey: queueKey,
    interval: settings.pollInterval,
    tags: settings.tags
  }).pipe(
    Stream.runForEach(onPoll),
    Effect.catch(onPollsEnd),
    Effect.andThen(Effect.sleep(settings.pollInterval)),
    Effect.forever,
    Effect.provideService(StacksClient, client)
  )

  // ---------------------------------------------------------------------------
  // The keeper
  // ---------------------------------------------------------------------------

  const onNotRenewed = Effect.fnUntraced(function* (jobUuid: string) {
    held.delete(jobUuid)
    const entry = inFlight.get(jobUuid)
    if (entry === undefined) return
    const state = yield* lookUp(client, stackKey, jobUuid).pipe(
      RetryPolicy.withPolicy(patiently),
      Effect.catch(() => Effect.succeed(undefined))
    )
    if (state === "reserved") return yield* renewal.hold(jobUuid)
    if (state !== undefined && (isAgentOwned(state) || isFinal(state))) return
    yield* Deferred.succeed(entry.stop, Stop.Lost())
  })

  const keeper = Stream.runForEach(renewal.lost, (jobUuid) => Effect.forkChild(onNotRenewed(jobUuid)))

  // ---------------------------------------------------------------------------
  // The end
  // ---------------------------------------------------------------------------

  const taking = yield* Effect.forkScoped(taker)
  const polling = yield* Effect.forkScoped(poller)
  yield* Effect.forkScoped(keeper)

  const handOver = Effect.suspend(() => {
    const jobUuids = [...held.keys(), ...uncertain.keys()]
    held.clear()
    // There is no un-reserve, but a reservation can be made short.
    return Reservations.reserve({ stackKey, jobUuids, reservationExpiry: "1 second" }).pipe(
      RetryPolicy.withPolicy(RetryPolicy.none),
      Effect.provideService(StacksClient, client),
      Effect.timeoutOption(farewellTimeout)
    )
  })

  const shutdown = yield* Effect.cached(
    Effect.gen(function* () {
      phase = "draining"
      candidates.clear()
      yield* emit(StackEvent.Draining({ inFlight: inFlight.size }))
      yield* Fiber.interrupt(polling)
      // A request that reserves is waited for, but not for ever.
      yield* Effect.timeoutOption(Fiber.interrupt(taking), farewellTimeout)
      yield* handOver
      const ended = yield* Effect.timeoutOption(FiberSet.awaitEmpty(fibers), settings.shutdownGrace)
      if (ended._tag === "None") {
        for (const { stop } of inFlight.values()) Deferred.doneUnsafe(stop, Effect.succeed(Stop.Shutdown()))
        yield* Effect.timeoutOption(FiberSet.awaitEmpty(fibers), farewellTimeout)
        yield* FiberSet.clear(fibers)
      }
      phase = "stopped"
      yield* emit(StackEvent.Stopped())
    })
  )
  yield* Effect.addFinalizer(() => shutdown)

  return {
    status: Effect.sync(() => ({
      phase,
      isPaused,
      maxInFlight,
      inFlight: Array.from(inFlight.values(), ({ job }) => job),
      waiting: candidates.size,
      held: held.size
    })),
    events: Stream.fromPubSub(hub),
    setMaxInFlight: (count) =>
      Effect.suspend(() => {
        maxInFlight = slots(count)
        work.openUnsafe()
        return measured
      }),
    drain: shutdown,
    idle: Deferred.await(idle),
    failed: Deferred.await(failure)
  }
})

const noAnswer: Reservations.ReserveResult = { reserved: [], notReserved: [], failed: [] }

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
      return Effect.logDebug(event._tag)
  }
}
