/** Days in the life of a stack, under the TestClock: jobs every hour, and trouble every few hours. */
import { JobRunner, RateLimit, Stack, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Context, Duration, Effect, Exit, Layer, Logger, Metric, Random, Scope, Stream } from "effect"
import { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { growth, type Sample } from "../../support/growth.ts"
import type { Leak } from "../../support/leaks.ts"
import { countFibers, resourceUsage } from "../../support/resourceUsage.ts"
import { everyFault } from "../../support/stacks.ts"
import { testClock } from "../../support/testClock.ts"

const { Fault } = StacksEmulator

/** Ways in which a service, a proxy or a network is out of order: one every two hours, all of them in a day. */
const outages: Readonly<Record<string, ReadonlyArray<StacksEmulator.Fault>>> = {
  "503": [Fault.Status({ status: 503 })],
  "503, and asks to wait": [Fault.Status({ status: 503, retryAfter: "45 seconds" })],
  "429": [Fault.Status({ status: 429 })],
  "a proxy's page": [Fault.Html({})],
  "broken connections": [Fault.Reset({})],
  silence: [Fault.Stall({})],
  "slow answers": [Fault.Stall({ duration: "50 seconds" })],
  "half answers": [Fault.Truncate({})],
  "lost answers": [Fault.LostResponse({})],
  "mangled answers": [Fault.Malformed({})],
  "slow down": [Fault.SlowDown({ retryAfter: "20 seconds" })],
  "a bit of everything": everyFault(0.3)
}
const outageNames = Object.keys(outages)

/** What the stack holds at the end of a day, when all of its jobs are over. Under the TestClock a timer is a fiber that sleeps. */
export interface Day extends Sample {
  readonly day: number
  readonly requests: number
  /** How many of the day's jobs ended in each way. */
  readonly ends: Readonly<Record<string, number>>
}

export interface Life {
  readonly days: ReadonlyArray<Day>
  /** Fibers that are left when the stack has ended. */
  readonly fibersLeft: number
}

/** One day's service. It is replaced at the end of the day, so that its own memory does not count. */
interface World {
  readonly emulator: StacksEmulator.Service
  readonly http: HttpClient.HttpClient
  readonly scope: Scope.Closeable
}

const makeWorld = Effect.fnUntraced(function* (seed: number) {
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(
    StacksEmulator.layerHttpClient.pipe(Layer.provideMerge(StacksEmulator.layer({ seed }))),
    scope
  )
  return {
    emulator: Context.get(context, StacksEmulator.StacksEmulator),
    http: Context.get(context, HttpClient.HttpClient),
    scope
  } satisfies World
})

const isOver = ({ state }: StacksEmulator.Job) => state === "finished" || state === "canceled"

const census = (jobs: ReadonlyArray<StacksEmulator.Job>): Day["ends"] => {
  const ends: Record<string, number> = {}
  for (const { exitStatus, state } of jobs) {
    const end = exitStatus === undefined ? state : `${state} ${exitStatus}`
    ends[end] = (ends[end] ?? 0) + 1
  }
  return ends
}

export interface Options {
  readonly days: number
  /** How often the queue is looked at, and the states of the jobs that are here. */
  readonly pace: Duration.Input
  readonly onDay?: (day: Day) => void
  /** Something to leak for each job. */
  readonly leak?: Leak | undefined
}

/** Lets a stack live for so many days: the same ones in every run. */
export const live = (options: Options): Effect.Effect<Life, Stack.StartError> =>
  make(options).pipe(Random.withSeed("days"), Effect.provide(testClock))

const make = Effect.fnUntraced(function* ({ days: count, leak, onDay, pace }: Options) {
  const fibers = countFibers()
  const days: Array<Day> = []
  let world = yield* makeWorld(0)
  let jobs = 0
  let requests = 0
  const http = HttpClient.make((request) => {
    requests++
    return world.http.execute(request)
  })

  /** A third of the jobs is run by agents. */
  const makeRunner = Effect.map(Effect.scope, (scope) =>
    JobRunner.layer(({ acquisitionToken, details, job, notify }) =>
      Effect.gen(function* () {
        const { emulator } = world
        const number = Number.parseInt(job.id.slice(-6), 16)
        if (leak !== undefined) yield* Scope.provide(leak(job.id), scope)
        yield* notify("running")
        if (number % 3 > 0) {
          yield* details
          yield* Effect.sleep(Duration.seconds(5 + (number % 1200)))
          return JobRunner.Finished({ exitStatus: 0, detail: "done" })
        }
        yield* emulator.acquireJob(yield* acquisitionToken)
        const agent = Effect.sleep(Duration.seconds(5 + (number % 600)))
        yield* Effect.ensuring(agent, Effect.ignore(emulator.completeJob(job.id)))
        return JobRunner.AgentOwned
      })
    )
  )

  /** Something goes wrong, and is right again before the hour is over. */
  const trouble = Effect.fnUntraced(function* (hour: number) {
    const { emulator } = world
    const during = Effect.sleep(Duration.minutes(yield* Random.nextIntBetween(2, 50)))
    if (hour % 2 === 0) {
      yield* emulator.setFaults(outages[outageNames[(hour / 2) % outageNames.length] ?? ""] ?? [])
      yield* Effect.ensuring(during, emulator.setFaults([]))
    } else if (hour % 6 === 1) {
      const jobs = (yield* emulator.jobs).filter((job) => !isOver(job))
      for (const job of jobs.slice(0, 5)) yield* emulator.cancelJob(job.id)
    } else if (hour % 6 === 3) {
      yield* emulator.pauseQueue("q", true)
      yield* Effect.ensuring(during, emulator.pauseQueue("q", false))
    } else {
      yield* emulator.forgetStack("s")
    }
  })

  const day = Effect.fnUntraced(function* (number: number) {
    const { emulator } = world
    for (let hour = 0; hour < 24; hour++) {
      const count = yield* Random.nextIntBetween(5, 40)
      yield* emulator.addJobs(Array.from({ length: count }, () => ({ queueKey: "q" })))
      jobs += count
      // The last hours are quiet, so that all is done by midnight.
      if (hour < 21) yield* Effect.forkScoped(trouble(number + hour))
      yield* TestClock.adjust("1 hour")
    }
    return census(yield* emulator.jobs)
  }, Effect.scoped)

  const renewWorld = Effect.fnUntraced(function* (seed: number) {
    yield* Scope.close(world.scope, Exit.void)
    world = yield* makeWorld(seed)
    // The stack finds out that the service has forgotten it.
    yield* TestClock.adjust("1 hour")
  })

  yield* Effect.gen(function* () {
    const { baseUrl, token } = world.emulator
    const client = StacksClient.layer({ baseUrl, token }).pipe(
      Layer.provide(Layer.succeed(HttpClient.HttpClient, http))
    )
    const context = yield* Layer.build(Layer.mergeAll(client, yield* makeRunner, RateLimit.layerMemory))
    const stack = yield* Stack.make({
      key: "s",
      queueKey: "q",
      maxInFlight: 20,
      pollInterval: pace,
      stateInterval: pace,
      shutdownGrace: 0
    }).pipe(Effect.provideContext(context))
    yield* Effect.forkScoped(Stream.runDrain(stack.events))
    for (let number = 1; number <= count; number++) {
      const ends = yield* day(number)
      yield* renewWorld(number)
      const ended: Day = {
        day: number,
        jobs,
        requests,
        ends,
        fibers: fibers.alive(),
        resourceUsage: yield* resourceUsage
      }
      requests = 0
      days.push(ended)
      onDay?.(ended)
    }
  }).pipe(
    Effect.scoped,
    Effect.provide(Logger.layer([])),
    Effect.provideService(Metric.MetricRegistry, new Map()),
    Effect.provideService(Metric.FiberRuntimeMetrics, fibers.service)
  )
  yield* Scope.close(world.scope, Exit.void)
  const life: Life = { days, fibersLeft: fibers.alive() }
  return life
})

/** What of it grew, was left, or went wrong. */
export const problemsOf = ({ days, fibersLeft }: Life): ReadonlyArray<string> => [
  ...growth(days),
  ...days.flatMap(({ day, ends }) =>
    Object.keys(ends)
      .filter((end) => !/^(finished|canceled)/.test(end))
      .map((end) => `at the end of day ${day}, ${ends[end]} jobs were ${end}`)
  ),
  ...(fibersLeft > 0 ? [`${fibersLeft} fibers were left at the end`] : [])
]
