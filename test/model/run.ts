/** Runs one plan under the TestClock. The same plan gives the same run. */
import { JobRunner, JobStore, SlotPool, Stack, type Stack as StackModule, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Cause, Clock, Effect, Exit, Fiber, Layer, Logger, Metric, Random, Scope } from "effect"
import { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { testClock } from "../support/testClock.ts"
import { crash, step } from "./crash.ts"
import * as Invariants from "./invariants.ts"
import { clientOf } from "./network.ts"
import { observe } from "./ownership.ts"
import { advancePlace, endAgent } from "./place.ts"
import type { Action, FaultPlan, JobPlan, Odd, Plan } from "./plan.ts"
import * as ProviderInvariants from "./providerInvariants.ts"
import { optionsWithProvider, providerRunner } from "./providers.ts"
import { advanceAgents, endAgentsOf, runnerOf, takeByAgent } from "./runners.ts"
import { Life, make, type StackProcess, type Violation, type World } from "./world.ts"

export interface Result {
  readonly violation: Violation | undefined
  /** What happened, line by line. */
  readonly log: ReadonlyArray<string>
  /** How much there was to check. */
  readonly runs: number
  readonly requests: number
  /** How long the world lasted, in seconds. */
  readonly seconds: number
}

/** When the world begins: wall time is not 0 in any real one. */
const beginning = Date.UTC(2026, 10, 1)

export const run = (plan: Plan): Promise<Result> =>
  Effect.runPromise(
    live(plan).pipe(
      Effect.provide(
        StacksEmulator.layerHttpClient.pipe(
          Layer.provideMerge(StacksEmulator.layer({ seed: plan.seed, rateLimits: plan.rateLimits })),
          Layer.provideMerge(testClock),
          Layer.provideMerge(Logger.layer([]))
        )
      ),
      Random.withSeed(`model ${plan.seed}`)
    )
  )

const live = Effect.fnUntraced(function* (plan: Plan) {
  yield* TestClock.setTime(beginning)
  const world = yield* make(plan)
  if (plan.pool !== undefined) world.pool = yield* Effect.orDie(SlotPool.make(plan.pool))
  const exit = yield* Effect.exit(history(world))
  if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) {
    world.violate("the model itself does not fail", Cause.pretty(exit.cause))
  }
  const jobs = Array.from(world.jobs.values())
  const result: Result = {
    violation: world.violation,
    log: world.log,
    runs: jobs.reduce((sum, { runs }) => sum + runs.length, 0),
    requests: world.requests,
    seconds: world.seconds
  }
  return result
})

const history = (world: World) =>
  Effect.gen(function* () {
    for (const { action, seconds } of world.plan.steps) {
      yield* act(world, action)
      yield* pass(world, seconds, world.plan.tick)
      if (world.violation !== undefined) return
    }
    yield* calm(world)
  })

// -----------------------------------------------------------------------------
// Time
// -----------------------------------------------------------------------------

/** Lets everything happen that can happen without time. */
const settle = (world: World) =>
  Effect.gen(function* () {
    let before: number
    do {
      before = world.activity
      for (let turn = 0; turn < 6; turn++) yield* Effect.yieldNow
    } while (world.activity !== before)
  })

/** Lets time pass, and checks what must hold, until it is over or something is violated. */
const pass = (world: World, seconds: number, tick: number, until: () => boolean = () => false) =>
  Effect.gen(function* () {
    let left = seconds
    do {
      const now = Math.min(left, tick)
      yield* now > 0 ? TestClock.adjust(now * 1000) : Effect.void
      left -= now
      yield* settle(world)
      const { activity } = world
      yield* advanceAgents(world)
      yield* advancePlace(world)
      yield* endDeadlines(world)
      yield* restart(world)
      if (world.activity !== activity) yield* settle(world)
      yield* Invariants.atTick(world)
      ProviderInvariants.atTick(world)
    } while (left > 0 && world.violation === undefined && !until())
  })

const endDeadlines = (world: World) =>
  Effect.gen(function* () {
    for (const deadline of world.deadlines) {
      const { fiber, life, what } = deadline
      if (fiber.pollUnsafe() === undefined) continue
      world.deadlines.delete(deadline)
      world.note(`model: ${what} of ${life.name} has ended`)
      if (what === "close") {
        life.closedAt = world.now
        yield* endAgentsOf(world, life)
        ProviderInvariants.onExit(world, life)
      }
      Invariants.onDeadline(world, life, what)
    }
  })

/** Starts what waits for the end of its last life, and ends what could not go on. */
const restart = (world: World) =>
  Effect.gen(function* () {
    for (const process of world.processes) {
      const { life } = process
      if (life?.failure !== undefined && life.closingSince === undefined && life.isAlive) yield* close(world, life)
      if (process.isStartWanted && (life === undefined || !life.isPresent)) {
        process.isStartWanted = false
        yield* start(world, process)
      }
    }
  })

// -----------------------------------------------------------------------------
// Processes
// -----------------------------------------------------------------------------

const start = (world: World, process: StackProcess) =>
  Effect.gen(function* () {
    if (process.life?.isPresent === true) {
      process.isStartWanted = process.life.closingSince !== undefined
      return
    }
    const { plan } = process
    const life = new Life(process, ++process.lives, world.now)
    process.life = life
    world.note(`model: start ${life.name}`)
    const scope = yield* Scope.make()
    life.scope = scope
    for (const { job } of yield* Effect.orDie(process.store.load(plan.key))) life.recovered.add(job.id)
    const client = yield* clientOf(world, life)
    const runner = yield* plan.provider === undefined
      ? Effect.succeed(runnerOf(world, life))
      : providerRunner(world, life, plan.provider, scope)
    const making = Stack.make(optionsOf(world, life)).pipe(
      Effect.provideService(JobRunner.JobRunner, runner),
      Effect.provideService(StacksClient.StacksClient, client),
      Effect.provideService(JobStore.JobStore, storeOf(world, life)),
      Effect.provideService(Metric.MetricRegistry, life.metrics),
      Effect.provideService(Clock.Clock, process.clock.clock),
      Random.withSeed(`${world.plan.seed} ${life.name}`),
      Scope.provide(scope)
    )
    life.starting = yield* Effect.forkDetach(
      Effect.matchEffect(making, {
        onFailure: (error) => Effect.sync(() => onFailure(world, life, error.message)),
        onSuccess: (service) => begin(world, life, service)
      }).pipe(
        Effect.catchCause((cause) =>
          Effect.sync(() => {
            if (life.isAlive && !Cause.hasInterruptsOnly(cause)) world.violate("no stack dies", Cause.pretty(cause))
          })
        )
      )
    )
  })

const begin = (world: World, life: Life, service: StackModule.Service) =>
  Effect.gen(function* () {
    life.service = service
    yield* Effect.forkDetach(
      service.awaitFailure.pipe(
        Effect.catchCause((cause) =>
          Effect.sync(() => {
            if (life.isAlive && !Cause.hasInterruptsOnly(cause)) onFailure(world, life, Cause.pretty(cause))
          })
        )
      ),
      { startImmediately: true }
    )
  })

/** A stack gives up: it may, where the service refuses its first registration, or has not let it in for `authGrace`. */
const onFailure = (world: World, life: Life, message: string) => {
  life.failure = message.slice(0, 300)
  world.note(`${life.name}: failed, ${life.failure}`)
  const grace = life.plan.authGrace * 1000
  if (!life.isRefusedAtStart && life.longestLockout < grace - 1000) {
    world.violate(
      "a stack fails only after a refused first registration or authGrace",
      `${life.name} after ${life.longestLockout} ms: ${life.failure}`
    )
  }
}

const optionsOf = (world: World, life: Life): StackModule.Options => {
  const { plan } = life
  const seconds = (count: number) => `${count} seconds` as const
  return {
    key: plan.key,
    queueKey: "q",
    tags: plan.tags,
    maxInFlight: life.slots,
    pool: world.pool,
    weight: plan.weight,
    pollInterval: seconds(plan.pollInterval),
    stateInterval: seconds(plan.stateInterval),
    reservationExpiry: seconds(plan.reservationExpiry),
    startTimeout: seconds(plan.startTimeout),
    authGrace: seconds(plan.authGrace),
    cancelGrace: seconds(plan.cancelGrace),
    shutdownGrace: seconds(plan.shutdownGrace),
    onClose: plan.onClose,
    ...optionsWithProvider(world, plan),
    onEvent: (event) => Invariants.onEvent(world, life, event)
  }
}

/** A store that a dead process does not write to. */
const storeOf = (world: World, life: Life): JobStore.Service => {
  const { plan, process } = life
  const { store } = process
  if (!plan.hasStore) return { load: () => Effect.succeed([]), save: () => Effect.void, remove: () => Effect.void }
  return {
    load: (key) => step(world, life, store.load(key)),
    save: (key, jobs) => step(world, life, store.save(key, jobs)),
    remove: (key, jobUuids) => step(world, life, store.remove(key, jobUuids))
  }
}

const deadline = (world: World, life: Life, what: "drain" | "close", seconds: number, effect: Effect.Effect<unknown>) =>
  Effect.gen(function* () {
    world.note(`model: ${what} ${life.name}`)
    const fiber = yield* Effect.forkDetach(effect)
    const until = world.now + (seconds + resistanceOf(world, life) + world.plan.tick) * 1000
    world.deadlines.add({ what, life, since: world.now, until, fiber })
  })

/** How long the runners that may be at work go on after their interruption, in seconds. */
const resistanceOf = (world: World, life: Life): number => {
  const seconds = Array.from(world.jobs.values(), ({ plan: { behavior, id } }) => {
    if (!life.open.has(id) && !life.active.has(id)) return 0
    if (behavior.does === "resistInterruption") return behavior.resists
    return behavior.does === "useResource" ? behavior.releaseTakes : 0
  })
  return Math.max(0, ...seconds)
}

const drain = (world: World, life: Life) =>
  Effect.gen(function* () {
    const { service } = life
    if (!life.isUp || service === undefined) return
    life.drainingSince = world.now
    yield* deadline(world, life, "drain", life.plan.shutdownGrace + Invariants.shutdownSeconds, service.drain)
  })

const close = (world: World, life: Life) =>
  Effect.gen(function* () {
    const { plan, scope, starting } = life
    if (!life.isPresent || life.closingSince !== undefined || scope === undefined || starting === undefined) return
    life.closingSince = world.now
    const limit =
      plan.onClose === "detach" && life.failure === undefined
        ? Invariants.detachSeconds
        : plan.shutdownGrace + Invariants.shutdownSeconds
    yield* deadline(
      world,
      life,
      "close",
      limit,
      Effect.andThen(Fiber.interrupt(starting), Scope.close(scope, Exit.void))
    )
  })

// -----------------------------------------------------------------------------
// Actions
// -----------------------------------------------------------------------------

const act = (world: World, action: Action): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { do: name, ...rest } = action
    if (name !== "addJobs" && name !== "wait") world.note(`model: ${name} ${JSON.stringify(rest)}`)
    switch (action.do) {
      case "wait":
        return
      case "addJobs":
        return yield* addJobs(world, action.jobs)
      case "cancel": {
        const job = world.jobs.get(action.job)
        if (job === undefined) return
        job.canceledAs = action.as
        return yield* cancel(world, action.job)
      }
      case "pause":
        world.isPaused = action.paused
        return yield* world.emulator.pauseQueue("q", action.paused)
      case "faults":
        return yield* setFaults(world, action.faults)
      case "odd":
        setOdd(world, action.odd)
        return
      case "forget": {
        const stack = world.plan.stacks[action.stack]
        if (stack !== undefined) yield* world.emulator.forgetStack(stack.key)
        world.troubledUntil = world.now + 5000
        return
      }
      case "steal":
        return yield* steal(world, action.job, action.keeps)
      case "takeByAgent": {
        const job = world.jobs.get(action.job)
        if (job !== undefined && (yield* takeByAgent(world, job, action.keeps))) job.stolenAt = world.now
        return
      }
      case "providerFaults":
        world.place.faults = action.faults.map((fault) => ({ fault, left: fault.times ?? Number.POSITIVE_INFINITY }))
        return
      case "placeSize":
        world.place.size = action.agents ?? Number.POSITIVE_INFINITY
        return
      case "endAgent":
        return yield* endAgent(world, action.job)
      case "poolSize":
        return yield* world.pool === undefined ? Effect.void : Effect.orDie(world.pool.setSize(action.count))
      default:
        return yield* onProcess(world, action)
    }
  })

const onProcess = (world: World, action: Extract<Action, { readonly stack: number }>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const process = world.processes[action.stack]
    if (process === undefined) return
    const { life } = process
    switch (action.do) {
      case "stepClock":
        process.clock.step(action.seconds * 1000)
        return
      case "slots":
        if (life?.service === undefined || !life.isAlive) return
        life.status = yield* life.service.status
        life.slots = action.count
        return yield* Effect.orDie(life.service.setMaxInFlight(action.count))
      case "link":
        process.link = action.link
        return
      case "host":
        process.isHostBroken = action.broken
        return
      case "drain":
        return yield* life === undefined ? Effect.void : drain(world, life)
      case "close":
        return yield* life === undefined ? Effect.void : close(world, life)
      case "crash":
        return yield* crash(world, process)
      case "crashAt":
        process.fuse = { left: action.step, isProcessed: action.isProcessed }
        return
      case "start":
        return yield* start(world, process)
      default:
    }
  })

const addJobs = (world: World, jobs: ReadonlyArray<JobPlan>) =>
  Effect.gen(function* () {
    const views = yield* world.emulator.addJobs(
      jobs.map(({ id, priority, rules, runnableIn }) => ({
        queueKey: "q",
        id,
        priority,
        agentQueryRules: rules,
        ...(runnableIn > 0 && { runnableAt: world.now + runnableIn * 1000 })
      }))
    )
    for (const [index, view] of views.entries()) {
      const plan = jobs[index]
      if (plan === undefined) continue
      world.jobs.set(view.id, {
        plan,
        view,
        runs: [],
        canceledAt: undefined,
        canceledAs: "canceled",
        stolenAt: undefined,
        lostAt: undefined,
        goneAt: undefined,
        overAt: undefined,
        scheduledSince: world.now,
        isFinishRefused: false,
        holder: undefined
      })
    }
  })

const cancel = (world: World, id: string) =>
  Effect.gen(function* () {
    const job = world.jobs.get(id)
    if (job === undefined) return
    yield* observe(world)
    if (job.view.state === "finished" || job.view.state === "canceled") return
    job.canceledAt ??= world.now
    yield* world.emulator.cancelJob(id)
    yield* observe(world)
  })

/** The service gives a job to somebody else: the reservation is cut short, and another stack is there first. */
const steal = (world: World, id: string, keeps: number) =>
  Effect.gen(function* () {
    const job = world.jobs.get(id)
    if (job === undefined || (job.view.state !== "reserved" && job.view.state !== "scheduled")) return
    const client = yield* thiefOf(world)
    job.stolenAt = world.now
    const thief = { key: "thief", type: "custom", queueKey: "q" } as const
    const theft = Effect.gen(function* () {
      yield* client.registerStack(thief)
      if (job.view.state === "reserved") {
        const stackKey = job.view.reservedBy ?? ""
        yield* client.batchReserveJobs({ stackKey, jobUuids: [id], reservationExpiry: "1 second" })
        yield* Effect.sleep(1000)
      }
      yield* client.batchReserveJobs({ stackKey: "thief", jobUuids: [id], reservationExpiry: 1000 * (keeps + 60) })
      yield* Effect.sleep(keeps * 1000)
      yield* client.finishJob({ stackKey: "thief", jobUuid: id, exitStatus: 0, detail: "stolen" })
    })
    yield* Effect.forkDetach(Effect.ignore(theft))
  })

const thiefOf = ({ emulator: { baseUrl, token }, http }: World) =>
  Effect.provideService(StacksClient.make({ baseUrl, token }), HttpClient.HttpClient, http)

const setFaults = (world: World, faults: ReadonlyArray<FaultPlan>) =>
  Effect.gen(function* () {
    world.faults = faults.length
    yield* world.emulator.setFaults(faults.map(toFault))
  })

const setOdd = (world: World, odd: ReadonlyArray<Odd>) => {
  world.odd = odd.map((odd) => ({ odd, left: "times" in odd ? odd.times : Number.POSITIVE_INFINITY }))
  for (const job of world.poisoned) world.poisonEnds.set(job, world.now)
  world.poisoned = new Set(odd.flatMap((odd) => (odd.kind === "poison" ? [odd.job] : [])))
  world.poisonedSince = world.now
}

const { Fault } = StacksEmulator

const toFault = ({
  _tag,
  duration,
  operations,
  rate,
  retryAfter,
  skip,
  status,
  times
}: FaultPlan): StacksEmulator.Fault => {
  const selection = { operations, rate, skip, times }
  const seconds = (count: number | undefined) => (count === undefined ? undefined : count * 1000)
  switch (_tag) {
    case "Status":
      return Fault.Status({ ...selection, status: status ?? 500, retryAfter: seconds(retryAfter) })
    case "Html":
      return Fault.Html({ ...selection, status })
    case "Malformed":
      return Fault.Malformed({ ...selection, status })
    case "Stall":
      return Fault.Stall({ ...selection, duration: seconds(duration) })
    case "SlowDown":
      return Fault.SlowDown({ ...selection, retryAfter: (retryAfter ?? 1) * 1000 })
    case "Reset":
      return Fault.Reset(selection)
    case "Truncate":
      return Fault.Truncate(selection)
    case "LostResponse":
      return Fault.LostResponse(selection)
  }
}

// -----------------------------------------------------------------------------
// The end
// -----------------------------------------------------------------------------

/** How many slots each stack has at the end: enough, so that the end does not take long. */
const slotsAtEnd = 20

/** All failures have stopped. Every listed job must end, and all stacks must end in order. */
const calm = (world: World) =>
  Effect.gen(function* () {
    world.note("model: calm from here on")
    world.isEnding = true
    setOdd(world, [])
    world.isPaused = false
    yield* setFaults(world, [])
    world.place.faults = []
    world.place.size = Number.POSITIVE_INFINITY
    yield* world.emulator.pauseQueue("q", false)
    if (world.pool !== undefined) yield* world.pool.setSize(slotsAtEnd)
    for (const process of world.processes) {
      process.link = "up"
      process.fuse = undefined
      process.isHostBroken = false
      const { life } = process
      if (life?.isUp === true && life.service !== undefined) {
        life.slots = slotsAtEnd
        yield* Effect.orDie(life.service.setMaxInFlight(slotsAtEnd))
      }
      if (life?.drainingSince !== undefined) yield* close(world, life)
      yield* start(world, process)
    }
    for (const { plan } of world.jobs.values()) if (plan.behavior.does === "hang") yield* cancel(world, plan.id)

    const expiry = Math.max(...world.plan.stacks.map(({ reservationExpiry }) => reservationExpiry))
    const pollInterval = Math.max(...world.plan.stacks.map(({ pollInterval }) => pollInterval))
    const tick = Math.max(world.plan.tick, Math.min(10, pollInterval))
    const limit = expiry + 2400 + 300 * Math.ceil(world.jobs.size / 10)
    yield* pass(
      world,
      limit,
      tick,
      () =>
        Invariants.isDone(world) &&
        world.saved === 0 &&
        world.lives.every(({ doubted, isUp }) => isUp && doubted.size === 0)
    )
    if (world.violation !== undefined) return
    if (!Invariants.isDone(world)) {
      return world.violate(
        "every job ends after all failures have stopped",
        `after ${limit} s: ${Invariants.whatIsLeft(world)}`
      )
    }
    yield* awaitIdle(world, 3 * pollInterval + 60, tick)
    if (world.violation !== undefined) return
    yield* Invariants.atEnd(world)
    if (world.violation !== undefined) return
    yield* pass(world, ProviderInvariants.sweepSeconds, tick, () => !ProviderInvariants.hasOrphans(world))
    ProviderInvariants.atEnd(world)
    if (world.violation !== undefined) return
    yield* closeAll(world)
  })

const awaitIdle = (world: World, limit: number, tick: number) =>
  Effect.gen(function* () {
    const idle = new Set<Life>()
    for (const life of world.lives) {
      if (life.service === undefined) continue
      yield* Effect.forkDetach(
        Effect.andThen(
          life.service.awaitIdle,
          Effect.sync(() => idle.add(life))
        ),
        { startImmediately: true }
      )
    }
    yield* pass(world, limit, tick, () => world.lives.every((life) => idle.has(life)))
    for (const life of world.lives) {
      if (!idle.has(life)) world.violate("a stack without jobs is idle", `${life.name} is not idle after ${limit} s`)
    }
  })

const closeAll = (world: World) =>
  Effect.gen(function* () {
    for (const life of world.lives) yield* close(world, life)
    yield* pass(world, 150, world.plan.tick, () => world.deadlines.size === 0)
    if (world.violation !== undefined) return
    const registered = new Set((yield* world.emulator.stacks).map(({ key }) => key))
    for (const { failure, plan } of world.lives) {
      const shouldBe = plan.onClose === "detach"
      if (failure === undefined && registered.has(plan.key) !== shouldBe) {
        world.violate("a stack deregisters, unless it detaches", `${plan.key} ${shouldBe ? "is not" : "is"} registered`)
      }
    }
    // Whatever still runs would send requests.
    yield* pass(world, 60, 10)
  })
