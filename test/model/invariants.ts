/**
 * What must hold in every world, whatever happens in it. Each invariant has a name, which is the sentence that it checks.
 *
 * - Hooks (`on…`) are called at the moment of a request, a response, an event, a run's start or its end.
 * - `atTick` is called when nothing is left to do before time goes on.
 * - `atEnd` is called when the world has been calm for long enough.
 */
import type { StackEvent } from "@stacksapi/core"
import { Duration, Effect, Metric } from "effect"
import type { Sent } from "./network.ts"
import { calmFor, isAgentOwned, isOver, isStopState, isTroubled, leastLeft, noteTrouble, observe } from "./ownership.ts"
import { hasPlacedAgent, isAgentInTheWay, mayTakeAny, onReserve } from "./providerInvariants.ts"
import type { Ending, JobTrace, Life, OpenJob, Run, World } from "./world.ts"

/** The documented time that a shutdown takes beside `shutdownGrace`, in seconds. */
export const shutdownSeconds = 25
/** How long detaching may take, in seconds: what is under way is interrupted, and `onEvent` gets 5 seconds. */
export const detachSeconds = 15
/** How long a runner of the model goes on after its interruption at most, with the release of what it has acquired. */
const resistSeconds = 8

const terminal: ReadonlySet<string> = new Set([
  "Finished",
  "AgentOwned",
  "Failed",
  "Canceled",
  "ReservationLost",
  "Released"
])

// -----------------------------------------------------------------------------
// Requests and responses
// -----------------------------------------------------------------------------

export const onRequest = (world: World, life: Life, sent: Sent): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (life.closedAt !== undefined && world.now > life.closedAt) {
      world.violate("a stack that has ended sends nothing", `${life.name} sent ${sent.operation}`)
    }
    if (sent.operation !== "batchReserveJobs") return
    if (sent.expiry !== undefined && sent.expiry <= 1) {
      for (const id of sent.jobs) life.released.set(id, world.now)
      return
    }
    yield* checkFinishes(world, life, sent)
    for (const id of sent.jobs) life.released.delete(id)
    if (!life.plan.hasStore) return
    const saved = yield* Effect.orDie(life.process.store.load(life.plan.key))
    const names = new Set(saved.map(({ job }) => job.id))
    for (const id of sent.jobs) {
      const view = world.jobs.get(id)?.view
      // The renewal of a job that is over reserves nothing.
      if (view === undefined || names.has(id) || isOver(view.state)) continue
      world.violate("a job is saved before it is reserved", `${life.name} asks to reserve ${id}, and did not save it`)
    }
  })

/** Jobs that wait for their finish hold no slot, and must not become more and more. */
const checkFinishes = (world: World, life: Life, sent: Sent): Effect.Effect<void> =>
  Effect.gen(function* () {
    const fresh = sent.jobs.filter((id) => !life.asked.has(id))
    for (const id of fresh) life.asked.add(id)
    onReserve(world, life, fresh)
    const before = life.status
    if (fresh.length === 0 || life.service === undefined || before === undefined || life.slots === 0) return
    const { finishing } = yield* life.service.status
    if (Math.min(before.finishing, finishing) >= life.slots) {
      world.violate(
        "nothing is reserved while too many finishes wait",
        `${life.name} asks to reserve ${fresh.join(" ")}: ${finishing} wait, ${life.slots} slots`
      )
    }
  })

/** Called when the service may have acted on a request, before the response travels. */
export const onReserved = (world: World, life: Life, sent: Sent): Effect.Effect<void> => {
  if (sent.operation !== "batchReserveJobs") return Effect.void
  return Effect.gen(function* () {
    // What has lapsed before this request is judged first, with the one who had it then.
    yield* observe(world)
    for (const id of sent.jobs) {
      const job = world.jobs.get(id)
      if (job?.view.state === "reserved" && job.view.reservedBy === life.plan.key) job.holder = life
    }
  })
}

/** Called when a response arrives at a stack. */
export const onDelivered = (world: World, life: Life, sent: Sent, status: number, body: unknown): void => {
  const operation = sent.operation ?? ""
  if (operation === "registerStack" && life.service === undefined && [400, 401, 403, 404, 422].includes(status))
    life.isRefusedAtStart = true
  if (status === 401 || status === 403) {
    const since = life.lockedOutSince.get(operation) ?? world.now
    life.lockedOutSince.set(operation, since)
    life.longestLockout = Math.max(life.longestLockout, world.now - since)
    return
  }
  if (operation === "finishJob" && (status === 400 || status === 422)) {
    for (const id of sent.jobs) {
      const job = world.jobs.get(id)
      if (job !== undefined) job.isFinishRefused = true
    }
  }
  if (status >= 300) return
  life.lockedOutSince.delete(operation)
  if (typeof body !== "object" || body === null) return
  if (operation === "listScheduledJobs") {
    const queue = (body as { readonly cluster_queue?: { readonly dispatch_paused?: boolean } }).cluster_queue
    if (queue?.dispatch_paused === true) life.pausedSince ??= world.now
    else life.pausedSince = undefined
  }
  if (operation === "getJobStates") {
    const { states = {} } = body as { readonly states?: Readonly<Record<string, string>> }
    for (const [id, state] of Object.entries(states)) {
      if (life.told.get(id)?.state !== state) life.told.set(id, { state, at: world.now })
    }
  }
}

// -----------------------------------------------------------------------------
// Runs
// -----------------------------------------------------------------------------

export const onRunStart = (world: World, run: Run): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { job, life } = run
    const { id } = job.plan
    yield* observe(world)
    const violate = (invariant: string, message: string) =>
      world.violate(invariant, `${life.name} started ${id}: ${message}`)

    // A run of a job that an agent has only waits for the agent.
    const isAttached = life.plan.outlivesStack && isAgentOwned(job.view.state)
    if (life.pausedSince !== undefined && life.pausedSince < world.now && !isAttached) {
      violate("nothing starts on a paused queue", `the queue is paused since ${seconds(world, life.pausedSince)} s`)
    }
    const isLeaving = Math.min(
      life.drainingSince ?? Number.POSITIVE_INFINITY,
      life.closingSince ?? Number.POSITIVE_INFINITY
    )
    if (isLeaving < world.now) violate("nothing starts after its end is decided", "the stack was draining")
    const told = life.told.get(id)
    if (told !== undefined && told.at < world.now && (isStopState(told.state) || told.state === "finished")) {
      violate(
        "nothing starts after its end is decided",
        `the service said that it is ${told.state} at ${seconds(world, told.at)} s`
      )
    }
    const { tags } = life.plan
    for (const rule of job.plan.rules) {
      const [key = "", value] = rule.split("=", 2)
      if (tags !== undefined && tags[key] !== value) violate("jobs run where their rules are met", rule)
    }
    const { runnableAt } = job.view
    // The `Date` header has whole seconds.
    if (runnableAt !== undefined && runnableAt !== null && runnableAt.epochMilliseconds > world.now + 2000) {
      violate("no job starts before it is runnable", `${runnableAt.epochMilliseconds - world.now} ms too early`)
    }
    const open = life.open.get(id)
    // A job that an agent has is not started: its runner waits for the agent.
    if (open !== undefined && !isAgentOwned(job.view.state) && world.now < open.startsAt - 100) {
      violate("a job waits for its backoff", `it was to wait for ${open.startsAt - world.now} ms more`)
    }

    if (life.active.has(id)) violate("no job runs twice at a time", "its runner is at work here already")
    for (const other of world.lives) {
      const running = other.active.get(id)
      if (running === undefined || other === life || !other.isAlive || isAttached) continue
      if ((job.lostAt ?? -1) < running.startedAt) {
        violate("no job runs twice at a time", `it runs at ${other.name}, whose reservation has not lapsed`)
      }
    }
    for (const before of job.runs) {
      if (before === run || before.expects === undefined || before.endedAt === undefined) continue
      if ((job.lostAt ?? -1) < before.startedAt) {
        violate(
          "every job ends once",
          `its run at ${before.life.name} has ended it already, with ${before.expects.exitStatus}`
        )
      }
    }

    const status = life.service === undefined ? undefined : yield* life.service.status
    if (status !== undefined && !status.inFlight.some((job) => job.id === id)) {
      violate("a job that runs holds a slot", "it holds none")
    }
    const held = Math.max(life.slots, status?.inFlight.length ?? 0, life.status?.inFlight.length ?? 0)
    if (life.active.size + 1 > held)
      violate("never more jobs than slots", `it is number ${life.active.size + 1} of ${held}`)
  })

/** Called when a runner has ended and given back what it had acquired. */
export const onRunEnd = (world: World, run: Run): void => {
  const { job, life } = run
  const name = `${job.plan.id} at ${life.name}`
  if (run.resources > 0) world.violate("every run releases what it has acquired", name)
  if (!run.wasInterrupted) return
  if (run.stop === undefined) {
    world.violate("a runner learns why it is interrupted", `${name} was interrupted without a reason`)
    return
  }
  const { reason } = run.stop
  const leaving = life.drainingSince ?? life.closingSince
  if (reason === "Shutdown") {
    if (
      leaving === undefined &&
      life.failure === undefined &&
      life.longestLockout < life.plan.authGrace * 1000 - 1000
    ) {
      world.violate("a stop reason is true", `${name}: Shutdown, and nothing shuts down`)
    }
    const grace = life.plan.shutdownGrace * 1000
    // A job that is canceled or lost meanwhile has no more time.
    const hasTime = job.canceledAt === undefined && job.stolenAt === undefined && job.lostAt === undefined
    if (leaving !== undefined && hasTime && world.now - leaving < grace - 100) {
      world.violate("running jobs have the shutdown grace", `${name} was interrupted after ${world.now - leaving} ms`)
    }
  }
  if ((reason === "Canceled" || reason === "TimedOut") && job.canceledAt === undefined) {
    world.violate("a stop reason is true", `${name}: ${reason}, and nobody canceled it`)
  }
  if (reason === "Detach" && (life.closingSince === undefined || life.plan.onClose !== "detach")) {
    world.violate("a stop reason is true", `${name}: Detach, and the stack does not detach`)
  }
  const agent = world.agents.get(job.plan.id)
  const isCanceled = (reason === "Canceled" || reason === "TimedOut") && job.canceledAt !== undefined
  if (isCanceled && leaving === undefined && agent?.life === life && job.view.state === "canceling") {
    const waited = world.now - (job.canceledAt ?? 0)
    if (waited < life.plan.cancelGrace * 1000 - 100) {
      world.violate("an agent has the cancel grace", `${name} was interrupted ${waited} ms after it was canceled`)
    }
  }
}

// -----------------------------------------------------------------------------
// Events
// -----------------------------------------------------------------------------

export const onEvent = (world: World, life: Life, event: StackEvent.StackEvent): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (!life.isAlive) return
    world.activity++
    life.counts.set(event._tag, life.count(event._tag) + 1)
    const job = "job" in event ? event.job.id : "jobUuid" in event ? (event.jobUuid ?? "") : ""
    if (event._tag !== "Polled") world.note(`${life.name}: ${event._tag} ${job}${detailOf(event)}`)
    if (!("job" in event)) return
    life.known.add(job)
    yield* observe(world)
    const trace = world.jobs.get(job)
    if (trace === undefined) return
    checkOrder(world, life, event, trace)
    checkTruth(world, life, event, trace)
  })

const detailOf = (event: StackEvent.StackEvent): string => {
  switch (event._tag) {
    case "RequestFailed":
    case "FinishRejected":
      return ` ${event.error.message.slice(0, 120)}`
    case "InDoubt":
    case "JobIgnored":
    case "Released":
      return ` ${event.reason}`
    case "BackedOff":
      return ` for ${Duration.toSeconds(event.delay)} s: ${event.message}`
    case "Finished":
      return ` ${event.exitStatus}`
    case "Failed":
      return ` ${event.detail}`
    case "StartsSuspended":
      return ` for ${Duration.toSeconds(event.delay)} s: ${event.message}`
    default:
      return ""
  }
}

/** `Reserved`, `Started`, then one of six; others in between. */
const checkOrder = (
  world: World,
  life: Life,
  event: Extract<StackEvent.StackEvent, { readonly job: unknown }>,
  { plan: { id } }: JobTrace
): void => {
  const open = life.open.get(id)
  if (event._tag !== "InDoubt") life.doubted.delete(id)
  if (event._tag === "NotReserved" || terminal.has(event._tag)) life.asked.delete(id)
  const violate = (message: string) =>
    world.violate("a job's events come in order", `${life.name}: ${event._tag} of ${id} ${message}`)
  switch (event._tag) {
    case "Reserved": {
      if (open !== undefined) violate("while it is reserved already")
      life.open.set(id, newOpenJob(world))
      return
    }
    case "NotReserved":
      if (open !== undefined) violate("while it is reserved")
      return
    case "InDoubt":
      if (open === undefined) life.doubted.add(id)
      return
    default:
  }
  if (open === undefined) {
    // A job that an earlier life has ended, or an agent has: only its end is left.
    if (!life.recovered.has(id)) violate("though it is not reserved")
    life.recovered.delete(id)
    if (!terminal.has(event._tag)) life.open.set(id, { ...newOpenJob(world), hasStarted: event._tag === "Started" })
    return
  }
  switch (event._tag) {
    case "Started":
      open.hasStarted = true
      return
    case "BackedOff":
      open.startsAt = backedOffAt(world, life, id) + Duration.toMillis(event.delay)
      return
    case "Interrupted":
      if (open.isInterrupted) violate("a second time")
      open.isInterrupted = true
      return
    case "FinishRejected":
      if (open.isFinishRejected) violate("a second time")
      open.isFinishRejected = true
      return
    case "Finished":
    case "AgentOwned":
      if (!open.hasStarted && !life.recovered.has(id)) violate("though it was not started")
      break
    default:
  }
  life.open.delete(id)
}

/**
 * From when the delay of a job that backs off counts: from the end of its run. The event arrives later, within a tick, as does that
 * of a job which has not run because its state could not be read.
 */
const backedOffAt = (world: World, life: Life, id: string): number => {
  const tick = world.plan.tick * 1000
  const run = world.jobs.get(id)?.runs.at(-1)
  const ended = run?.life === life ? run.endedAt : undefined
  return Math.max(ended ?? Number.NEGATIVE_INFINITY, world.now - tick)
}

const newOpenJob = (world: World): OpenJob => ({
  since: world.now,
  hasStarted: false,
  isInterrupted: false,
  isFinishRejected: false,
  startsAt: Number.NEGATIVE_INFINITY
})

/** What an event says has to be so at the service. */
const checkTruth = (
  world: World,
  life: Life,
  event: Extract<StackEvent.StackEvent, { readonly job: unknown }>,
  { canceledAt, lostAt, plan: { id }, stolenAt, view }: JobTrace
): void => {
  const violate = (message: string) =>
    world.violate("events are true", `${life.name}: ${event._tag} of ${id}, ${message}`)
  const isOurs = view.state === "reserved" && view.reservedBy === life.plan.key
  const wasLost = stolenAt !== undefined || lostAt !== undefined
  switch (event._tag) {
    case "Finished":
      if (!wasLost && (view.state !== "finished" || view.exitStatus !== event.exitStatus)) {
        violate(`${event.exitStatus}, but it is ${view.state} with ${view.exitStatus}`)
      }
      break
    case "Failed":
      if (!wasLost && (view.state !== "finished" || view.exitStatus !== -1)) {
        violate(`but it is ${view.state} with ${view.exitStatus}`)
      }
      break
    case "Canceled":
      if (canceledAt === undefined) violate("but nobody canceled it")
      break
    case "AgentOwned":
      if (isOurs || view.state === "scheduled") violate(`but it is ${view.state}`)
      break
    case "ReservationLost":
      if (isOurs && !isTroubled(world, life) && calmFor(world, life) > 60_000)
        violate("but it is still reserved by this stack")
      break
    case "Released":
      if (isOurs && (view.reservedUntil?.epochMilliseconds ?? 0) > world.now + 1500) violate("but it is still reserved")
      break
    default:
  }
}

// -----------------------------------------------------------------------------
// Ticks
// -----------------------------------------------------------------------------

export const atTick = (world: World): Effect.Effect<void> =>
  Effect.gen(function* () {
    yield* observe(world)
    for (const life of world.lives) {
      if (!life.isPresent) continue
      noteTrouble(world, life)
      checkRunners(world, life)
      yield* checkStatus(world, life)
      checkReservations(world, life)
      checkRoom(world, life)
      if (life.isUp ? ++life.ticks % 5 === 0 : true) yield* checkMetrics(world, life)
    }
    checkPool(world)
    checkDeadlines(world)
    if (world.isEnding) yield* countSaved(world)
  })

const checkStatus = (world: World, life: Life): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (life.service === undefined) return
    const status = yield* life.service.status
    const before = life.status
    life.status = status
    const had = new Set(before?.inFlight.map(({ id }) => id))
    // An agent of an earlier life is at work already, whether or not there is a slot for its job.
    const isInherited = (id: string) => life.inherited.has(id) || hasPlacedAgent(world, life, id)
    const hasNew = status.inFlight.some(({ id }) => !had.has(id) && !isInherited(id))
    if (hasNew && status.inFlight.length > life.slots) {
      world.violate(
        "never more jobs than slots",
        `${life.name} has ${status.inFlight.length} jobs in ${life.slots} slots`
      )
    }
    const holders = new Set(status.inFlight.map(({ id }) => id))
    for (const id of life.active.keys()) {
      if (!holders.has(id)) world.violate("a job that runs holds a slot", `${life.name} runs ${id} without one`)
    }
    for (const id of holders) {
      const run = world.jobs.get(id)?.runs.findLast((run) => run.life === life)
      if (
        run?.endedAt !== undefined &&
        run.expects !== undefined &&
        !run.claimsAgent &&
        world.now - run.endedAt > 90_000
      ) {
        world.violate("a job that waits for its finish holds no slot", `${id} at ${life.name}`)
      }
    }
    if (life.closingSince !== undefined || life.drainingSince !== undefined) return
    const known = status.inFlight.length + status.backingOff + status.inDoubt + status.finishing
    const open = Array.from(life.open.keys()).filter((id) => !life.released.has(id))
    // A job that is given back is in none of these.
    if (open.length > known && calmFor(world, life) > 30_000) {
      world.violate(
        "events add up",
        `${life.name} has reserved ${open.join(" ")}, and its status knows ${known} jobs: ${status.inFlight.map(({ id }) => id).join(" ")}; ${status.backingOff} backing off, ${status.finishing} finishing`
      )
    }
  })

const checkRunners = (world: World, life: Life): void => {
  const tick = world.plan.tick * 1000
  for (const run of life.active.values()) {
    if (run.stop === undefined || isAgentInTheWay(world, life, run.job)) continue
    const { at, reason } = run.stop
    const grace =
      reason === "Shutdown"
        ? life.plan.shutdownGrace
        : reason === "ReservationLost" || reason === "Detach"
          ? 0
          : life.plan.cancelGrace
    if (world.now - at > (grace + resistSeconds) * 1000 + tick + 2000) {
      world.violate(
        "a runner that does not stop is interrupted",
        `${run.job.plan.id} at ${life.name}: ${reason} at ${seconds(world, at)} s`
      )
    }
  }
}

/** What must be reserved is, and what is over or lost is noticed. */
const checkReservations = (world: World, life: Life): void => {
  if (!life.isUp) return
  const { cancelGrace, pollInterval, reservationExpiry, stateInterval } = life.plan
  const least = leastLeft(world, life)
  for (const id of new Set([...life.open.keys(), ...life.active.keys()])) {
    const job = world.jobs.get(id)
    if (job === undefined || life.released.has(id) || world.isPoisoned(id)) continue
    const { view } = job
    const isOurs = view.state === "reserved" && view.reservedBy === life.plan.key
    const left = (view.reservedUntil?.epochMilliseconds ?? 0) - world.now
    if (isOurs && job.stolenAt === undefined && left < least) {
      world.violate(
        "reservations are renewed while jobs are here",
        `${life.name}: ${id} has ${Math.round(left / 1000)} s left, and not ${Math.round(least / 1000)}`
      )
    }
    if (isOurs || job.goneAt === undefined || isAgentInTheWay(world, life, job)) continue
    // An agent may have ended it: then the runner is about to end.
    if (view.state === "finished" && life.active.has(id)) continue
    const agent = world.agents.get(id)
    if (isAgentOwned(view.state) && (agent?.life !== undefined || view.state !== "canceling")) continue
    const known = Math.max(stateInterval, reservationExpiry / 4) + pollInterval + cancelGrace + resistSeconds + 60
    const goneSince = Math.max(job.goneAt, life.open.get(id)?.since ?? 0)
    if (Math.min(calmFor(world, life), world.now - goneSince) > known * 1000) {
      world.violate(
        "what is over at the service ends here",
        `${id} is ${view.state} since ${seconds(world, goneSince)} s, and ${life.name} still has it`
      )
    }
  }
  for (const job of world.jobs.values()) {
    const { view } = job
    if (view.state !== "reserved" || job.holder !== life || job.stolenAt !== undefined) continue
    if (life.open.has(job.plan.id) || life.active.has(job.plan.id) || life.released.has(job.plan.id)) continue
    // A job in doubt is dropped when the last request that may have reserved it has lapsed, and its reservation with it.
    if (world.isPoisoned(job.plan.id) || life.doubted.has(job.plan.id)) continue
    // It is pending. If agents have all slots until the next poll, which does not list it, its reservation lapses.
    if (life.refusedAfterwards.has(job.plan.id)) continue
    const since = view.reservedAt?.epochMilliseconds ?? 0
    if (Math.min(calmFor(world, life), world.now - since) > (120 + 3 * pollInterval) * 1000) {
      world.violate(
        "no job is reserved and forgotten",
        `${job.plan.id} is reserved by ${life.name}, which does not know it`
      )
    }
  }
}

const countSaved = (world: World): Effect.Effect<void> =>
  Effect.gen(function* () {
    world.saved = 0
    for (const { plan, store } of world.processes) world.saved += (yield* Effect.orDie(store.load(plan.key))).length
  })

/** How long a job may wait though there is a slot for it, in milliseconds: the longest delay of a request, and some polls. */
const waitMillis = (life: Life): number => 60_000 + 3000 * life.plan.pollInterval

/** A stack with a free slot takes a job that it has not seen before. */
const checkRoom = (world: World, life: Life): void => {
  const { status } = life
  const hasRoom =
    life.isUp &&
    world.pool === undefined &&
    mayTakeAny(world, life) &&
    status !== undefined &&
    !status.startsSuspended &&
    !status.isPaused &&
    !world.isPaused &&
    !life.process.isHostBroken &&
    life.recovered.size === 0 &&
    status.inFlight.length + status.backingOff + status.inDoubt + status.finishing < life.slots
  if (!hasRoom) {
    life.hasRoomSince = undefined
    return
  }
  life.hasRoomSince ??= world.now
  const roomFor = Math.min(world.now - life.hasRoomSince, calmFor(world, life))
  if (roomFor < waitMillis(life)) return
  for (const { plan, scheduledSince, view } of world.jobs.values()) {
    if (scheduledSince === undefined || life.known.has(plan.id) || world.isPoisoned(plan.id)) continue
    if (plan.rules.length > 0 || world.now - (view.runnableAt?.epochMilliseconds ?? 0) < waitMillis(life)) continue
    if (world.now - scheduledSince > waitMillis(life)) {
      world.violate(
        "a free slot takes a job that waits",
        `${life.name} leaves ${plan.id} alone, which is scheduled since ${seconds(world, scheduledSince)} s`
      )
    }
  }
}

const checkPool = (world: World): void => {
  const { pool } = world
  if (pool === undefined) return
  const size = pool.size()
  // The status of a stack that ends says what it leaves to the next process, too.
  const taken = world.lives
    .filter(({ isAlive }) => isAlive)
    .flatMap((life) => {
      const ids = life.isUp ? (life.status?.inFlight.map(({ id }) => id) ?? []) : Array.from(life.active.keys())
      return ids.map((id) => ({ id, isInherited: life.inherited.has(id) }))
    })
  // An agent of an earlier life is at work already, whether or not there is a slot for its job.
  const hasNew = taken.some(({ id, isInherited }) => !isInherited && !world.takenOfPool.has(id))
  if (taken.length > size && hasNew) {
    world.violate("never more jobs than slots", `${taken.length} jobs in a pool of ${size}`)
  }
  world.takenOfPool = new Set(taken.map(({ id }) => id))
}

const checkDeadlines = (world: World): void => {
  for (const { life, since, until, what } of world.deadlines) {
    if (world.now > until) {
      world.violate(
        "a shutdown takes the documented time",
        `${what} of ${life.name}, begun at ${seconds(world, since)} s, has not ended`
      )
    }
  }
}

/** Counters say what events say. */
const checkMetrics = (world: World, life: Life): Effect.Effect<void> =>
  Effect.gen(function* () {
    const snapshot = yield* Effect.provideService(Metric.snapshot, Metric.MetricRegistry, life.metrics)
    const expected = (id: string, attributes: Readonly<Record<string, string>> | undefined): number | undefined => {
      switch (id) {
        case "stacksapi_jobs":
          return life.counts.get((attributes?.["outcome"] ?? "") as StackEvent.StackEvent["_tag"]) ?? 0
        case "stacksapi_jobs_reserved":
          return life.count("Reserved")
        case "stacksapi_jobs_started":
          return life.count("Started")
        case "stacksapi_polls":
          return life.count("Polled")
        case "stacksapi_registrations":
          return life.count("Registered") + life.count("ReRegistered")
        case "stacksapi_request_failures":
          return life.count("RequestFailed")
        default:
          return undefined
      }
    }
    for (const { attributes, id, state } of snapshot) {
      const count = expected(id, attributes)
      if (count === undefined || !("count" in state) || Number(state.count) === count) continue
      const name = `${id}${attributes === undefined ? "" : JSON.stringify(attributes)}`
      world.violate("metrics add up", `${life.name}: ${name} is ${state.count}, and there were ${count} events`)
    }
  })

// -----------------------------------------------------------------------------
// Ends
// -----------------------------------------------------------------------------

/** Called when a drain or a close has ended. */
export const onDeadline = (world: World, life: Life, what: "drain" | "close"): void => {
  for (const [id, { job }] of life.active) {
    if (isAgentInTheWay(world, life, job)) continue
    world.violate("nothing runs in a stack that has ended", `${id} at ${life.name}, after its ${what}`)
  }
}

/** Called when a process has crashed: what its store must have by then. */
export const onCrash = (world: World, life: Life): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (!life.plan.hasStore) return
    const saved = yield* Effect.orDie(life.process.store.load(life.plan.key))
    const outcomes = new Set(saved.flatMap(({ job, outcome }) => (outcome === undefined ? [] : [job.id])))
    for (const job of world.jobs.values()) {
      const run = job.runs.at(-1)
      if (run?.life !== life || run.expects === undefined || run.endedAt === undefined) continue
      if (isOver(job.view.state) || isAgentOwned(job.view.state) || (job.lostAt ?? -1) >= run.startedAt) continue
      if (!outcomes.has(job.plan.id)) {
        world.violate(
          "an outcome that was not sent is saved",
          `${job.plan.id} has ended at ${life.name}, and the store does not say how`
        )
      }
    }
  })

/** What is wrong with a world that had all the time it needs. */
export const isDone = (world: World): boolean =>
  Array.from(world.jobs.values()).every(({ view }) => isOver(view.state)) &&
  world.lives.every(({ active, open }) => open.size === 0 && active.size === 0)

export const whatIsLeft = (world: World): string =>
  Array.from(world.jobs.values())
    .flatMap(({ plan, view }) => (isOver(view.state) ? [] : [`${plan.id} is ${view.state}`]))
    .concat(
      world.lives.flatMap((life) => [
        ...Array.from(life.open.keys(), (id) => `${life.name} has ${id}`),
        ...Array.from(life.active.keys(), (id) => `${life.name} runs ${id}`)
      ])
    )
    .join(", ")

export const atEnd = (world: World): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (const life of world.lives) {
      if (life.service === undefined) continue
      const status = yield* life.service.status
      if (status.inFlight.length > 0 || status.backingOff > 0 || status.finishing > 0) {
        world.violate(
          "all slots are free at the end",
          `${life.name}: ${JSON.stringify({ ...status, inFlight: status.inFlight.length })}`
        )
      }
    }
    if (world.pool !== undefined && world.pool.free() !== world.pool.size()) {
      world.violate("all slots are free at the end", `${world.pool.free()} of ${world.pool.size()} of the pool`)
    }
    for (const process of world.processes) {
      const saved = yield* Effect.orDie(process.store.load(process.plan.key))
      if (saved.length > 0) {
        world.violate(
          "the store is empty at the end",
          `${process.plan.key}: ${saved.map(({ job }) => job.id).join(" ")}`
        )
      }
    }
    for (const job of world.jobs.values()) checkEnding(world, job)
  })

const describe = (ending: Ending): string => `${ending.exitStatus} ${ending.signalReason ?? ""}`

/** How a job ended at the service is how its run ended. */
const checkEnding = (world: World, job: JobTrace): void => {
  const run = job.runs.at(-1)
  if (job.stolenAt !== undefined || job.canceledAt !== undefined || run === undefined) return
  if (run.expects === undefined || (job.lostAt ?? -1) >= run.startedAt) return
  const { exitStatus = -1, signalReason } = job.view
  if (job.isFinishRefused && exitStatus === -1 && signalReason === "stack_error") return
  if (exitStatus !== run.expects.exitStatus || (run.expects.signalReason ?? signalReason) !== signalReason) {
    world.violate(
      "a job ends as its runner says",
      `${job.plan.id} should end with ${describe(run.expects)} and ended with ${describe({ exitStatus, signalReason })}`
    )
  }
}

const seconds = (world: World, at: number): string => ((at - world.startedAt) / 1000).toFixed(1)
