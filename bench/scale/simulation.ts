/**
 * Simulates stacks in virtual time: the real `Stacks`, client and rate limiter, the emulated service with the documented limits, a
 * round trip for each request, and jobs at a constant rate.
 */
import { JobRunner, Stacks, StacksClient } from "@stacksapi/core"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Clock, DateTime, Deferred, Effect, Exit, Layer, Logger, Metric, Scope } from "effect"
import { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { Recording } from "./recording.ts"

/** How jobs are run. */
export type Runner =
  /** By the stack, which finishes them. */
  | "finish"
  /** By a local agent for each job, like `AgentRunner`, which gets secrets to redact and waits for the agent. */
  | "agents"
  /** By a remote agent for each job: the slot is free when the agent has acquired its job. */
  | "handover"

export interface Cell {
  readonly queues: number
  /** Stacks of each queue, each with a key of its own. */
  readonly keys: number
  /** Jobs a second, for all queues together. */
  readonly rate: number
  readonly runner: Runner
  /** The maximum number of jobs. Default: unlimited. */
  readonly jobs?: number
  /** Whether one running job is canceled each second. */
  readonly cancels?: boolean
  /** Slots for all queues together. */
  readonly slots: number
  /** The average duration of a job. Durations are between half and one and a half of it. */
  readonly jobSeconds: number
  /** The round trip of a request, in milliseconds. */
  readonly roundTrip: number
  /** Simulated seconds: first not measured, then measured. */
  readonly warmup: number
  readonly seconds: number
}

export interface Figures {
  /** Requests a second, for all queues together. */
  readonly requests: Readonly<Partial<Record<Operation, number>>>
  /** The maximum in any second. */
  readonly peaks: Readonly<Partial<Record<Operation, number>>>
  readonly refused: number
  /** Jobs a second. */
  readonly started: number
  readonly ended: number
  /** From scheduling to start, in milliseconds, for the jobs that have started. */
  readonly latency: Percentiles
  /** From a job's cancellation to its runner's interruption, in milliseconds. */
  readonly notice: Percentiles
  /** Jobs that have not started at the end. */
  readonly waiting: number
  /** Jobs that are running at the end. */
  readonly running: number
  readonly fibers: number
  /** Bytes in use at the end. */
  readonly memory: { readonly stacks: number; readonly emulator: number }
  /** CPU seconds per simulated second. */
  readonly cpu: { readonly all: number; readonly emulator: number }
}

export interface Percentiles {
  readonly p50: number
  readonly p99: number
}

export type Operation = "list" | "reserve" | "states" | "finish" | "tokens" | "getJob" | "notify" | "register"

const operationOf = (url: string): Operation => {
  const path = url.split("?", 1)[0] ?? ""
  if (path.endsWith("/scheduled-jobs")) return "list"
  if (path.endsWith("/batch-reserve")) return "reserve"
  if (path.endsWith("/get-states")) return "states"
  if (path.endsWith("/finish")) return "finish"
  if (path.endsWith("/job-acquisition-tokens")) return "tokens"
  if (path.endsWith("/notifications")) return "notify"
  if (path.endsWith("/register") || path.endsWith("/deregister")) return "register"
  return "getJob"
}

const operations = (counts: Readonly<Partial<Record<Operation, number>>>) =>
  Object.entries(counts) as Array<[Operation, number]>

/** How often jobs are added and end. */
const tick = 10

const queueKeyOf = (index: number) => `q${index}`

const emulator = StacksEmulator.layer({ rateLimits: true })

export const percentiles = (values: ReadonlyArray<number>): Percentiles => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99) }
}

const cpuSeconds = () => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e6
}

export const bytesInUse = (): number => {
  globalThis.gc?.()
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

/** Simulates the stacks, then the emulator alone, to measure their costs separately. */
export const simulate = (cell: Cell) =>
  Effect.gen(function* () {
    const recording = new Recording(true)
    const figures = yield* run(cell, recording)
    const emulator = yield* replay(cell, recording)
    return {
      ...figures,
      memory: { ...figures.memory, emulator: emulator.memory },
      cpu: { ...figures.cpu, emulator: emulator.cpu }
    } satisfies Figures
  })

const replay = ({ seconds, warmup }: Cell, recording: Recording) =>
  Effect.gen(function* () {
    const empty = bytesInUse()
    let before = 0
    yield* recording.replay(warmup * 1000, () => (before = cpuSeconds()))
    const cpu = (cpuSeconds() - before) / seconds
    return { memory: bytesInUse() - empty, cpu }
  }).pipe(Effect.provide([Layer.provideMerge(StacksEmulator.layerHttpClient, emulator), Logger.layer([])]))

/** Simulates the stacks. */
export const run = (cell: Cell, recording = new Recording(false)) =>
  Effect.gen(function* () {
    const {
      cancels = false,
      jobs = Number.POSITIVE_INFINITY,
      jobSeconds,
      keys,
      queues,
      rate,
      roundTrip,
      runner,
      seconds,
      slots,
      warmup
    } = cell
    const emulator = yield* StacksEmulator.StacksEmulator
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()

    // -- The network
    const counts: Partial<Record<Operation, number>> = {}
    let refused = 0
    const client = yield* StacksClient.make({ baseUrl: emulator.baseUrl, token: emulator.token }).pipe(
      Effect.provideService(
        HttpClient.HttpClient,
        HttpClient.transform(yield* HttpClient.HttpClient, (response, request) =>
          Effect.gen(function* () {
            yield* Effect.sleep(roundTrip / 2)
            recording.addRequest(now(), request)
            const operation = operationOf(request.url)
            counts[operation] = (counts[operation] ?? 0) + 1
            const answer = yield* response
            if (answer.status === 429) refused++
            yield* Effect.sleep(roundTrip / 2)
            return answer
          })
        )
      )
    )

    // -- Jobs
    let added = 0
    let started = 0
    let ended = 0
    let waits: Array<number> = []
    /** The jobs that end at each tick. */
    const ends = new Map<number, Array<Effect.Effect<unknown>>>()
    let drawn = 0
    const endTick = () => {
      // From half to one and a half of it, evenly distributed by the golden ratio, and the same in each run.
      const part = 0.5 + ((drawn++ * 0.618_033_988_75) % 1)
      return Math.max(1, Math.round((now() + part * jobSeconds * 1000) / tick))
    }
    const atEnd = (effect: Effect.Effect<unknown>) =>
      Effect.sync(() => {
        const at = endTick()
        const others = ends.get(at)
        if (others === undefined) ends.set(at, [effect])
        else others.push(effect)
      })
    const lasts = Effect.suspend(() => {
      const end = Deferred.makeUnsafe<void>()
      return Effect.andThen(atEnd(Deferred.succeed(end, void 0)), Deferred.await(end))
    })
    const onStart = ({ id, scheduledAt }: JobRunner.JobContext["job"]) =>
      Effect.sync(() => {
        started++
        if (cancels) running.add(id)
        waits.push(now() - DateTime.toEpochMillis(scheduledAt))
      })
    const complete = (jobUuid: string) =>
      Effect.suspend(() => {
        ended++
        const act = Effect.flatMap(StacksEmulator.StacksEmulator, ({ completeJob }) => completeJob(jobUuid))
        recording.add(now(), act)
        return Effect.provideService(act, StacksEmulator.StacksEmulator, emulator)
      })
    const acquire = ({ acquisitionToken, job }: JobRunner.JobContext) =>
      Effect.flatMap(acquisitionToken, (token) => {
        const act = Effect.flatMap(StacksEmulator.StacksEmulator, ({ acquireJob }) => acquireJob(token))
        recording.add(now(), act)
        return Effect.andThen(Effect.provideService(act, StacksEmulator.StacksEmulator, emulator), onStart(job))
      })
    const canceledAt = new Map<string, number>()
    let notices: Array<number> = []
    /** The running jobs, longest first. */
    const running = new Set<string>()
    const noticing = (run: JobRunner.Service["run"]): JobRunner.Service["run"] =>
      cancels
        ? (context) =>
            run(context).pipe(
              Effect.onInterrupt(() =>
                Effect.sync(() => {
                  const at = canceledAt.get(context.job.id)
                  if (at !== undefined) notices.push(now() - at)
                })
              ),
              Effect.ensuring(Effect.sync(() => running.delete(context.job.id)))
            )
        : run
    const cancelOne = Effect.suspend(() => {
      const [jobUuid] = running
      if (jobUuid === undefined) return Effect.void
      running.delete(jobUuid)
      canceledAt.set(jobUuid, now())
      const act = Effect.flatMap(StacksEmulator.StacksEmulator, ({ cancelJob }) => cancelJob(jobUuid))
      recording.add(now(), act)
      return Effect.provideService(act, StacksEmulator.StacksEmulator, emulator)
    })
    const runners: Readonly<Record<Runner, JobRunner.Service["run"]>> = {
      finish: ({ job }) =>
        onStart(job).pipe(
          Effect.andThen(lasts),
          Effect.map(() => {
            ended++
            return JobRunner.Finished({ exitStatus: 0, detail: "done" })
          })
        ),
      agents: (context) =>
        context.details.pipe(
          Effect.andThen(acquire(context)),
          Effect.andThen(lasts),
          Effect.andThen(complete(context.job.id)),
          Effect.andThen(context.state),
          Effect.as(JobRunner.AgentOwned),
          Effect.mapError((error) => new JobRunner.JobRunnerError({ message: error.message }))
        ),
      handover: (context) =>
        acquire(context).pipe(
          Effect.andThen(atEnd(complete(context.job.id))),
          Effect.as(JobRunner.AgentOwned),
          Effect.mapError((error) => new JobRunner.JobRunnerError({ message: error.message }))
        )
    }

    let isOver = false
    const world = Effect.gen(function* () {
      while (!isOver) {
        const count = Math.min(jobs, Math.floor((rate * now()) / 1000)) - added
        if (count > 0) {
          const newJobs = Array.from({ length: count }, (_, index) => ({
            queueKey: queueKeyOf((added + index) % queues)
          }))
          const act = Effect.flatMap(StacksEmulator.StacksEmulator, ({ addJobs }) => addJobs(newJobs))
          recording.add(now(), act)
          yield* Effect.provideService(act, StacksEmulator.StacksEmulator, emulator)
          added += count
        }
        if (cancels && now() % 1000 === 0) yield* cancelOne
        const at = Math.round(now() / tick)
        for (const end of ends.get(at) ?? []) yield* end
        ends.delete(at)
        yield* Effect.sleep(tick)
      }
    })

    // -- Time
    let peaks: Partial<Record<Operation, number>> = {}
    const pass = Effect.fnUntraced(function* (seconds: number) {
      for (let second = 0; second < seconds; second++) {
        const before = { ...counts }
        yield* TestClock.adjust("1 second")
        for (const [operation, count] of operations(counts))
          peaks[operation] = Math.max(peaks[operation] ?? 0, count - (before[operation] ?? 0))
      }
    })
    let fibers = 0
    const countFibers: Metric.FiberRuntimeMetricsService = {
      recordFiberStart: () => void fibers++,
      recordFiberEnd: () => void fibers--
    }

    const scope = yield* Scope.make()
    const stacks = Stacks.make({
      key: "s",
      queues: Array.from({ length: queues * keys }, (_, index) => {
        const queueKey = queueKeyOf(index % queues)
        return index < queues ? queueKey : { queueKey, key: `s${Math.floor(index / queues)}--${queueKey}` }
      }),
      maxInFlight: slots,
      onClose: "detach"
    }).pipe(
      Effect.provide(JobRunner.layer(noticing(runners[runner]))),
      Effect.provideService(StacksClient.StacksClient, client),
      Effect.provideService(Scope.Scope, scope),
      Effect.provideService(Metric.FiberRuntimeMetrics, countFibers)
    )
    yield* Effect.forkChild(stacks)
    yield* Effect.forkChild(world)
    yield* pass(warmup)

    const before = { counts: { ...counts }, started, ended, refused, cpu: cpuSeconds() }
    waits = []
    notices = []
    peaks = {}
    yield* pass(seconds)
    const cpu = (cpuSeconds() - before.cpu) / seconds
    const requests: Partial<Record<Operation, number>> = {}
    for (const [operation, count] of operations(counts))
      requests[operation] = (count - (before.counts[operation] ?? 0)) / seconds
    const figures = {
      requests,
      peaks,
      refused: refused - before.refused,
      started: (started - before.started) / seconds,
      ended: (ended - before.ended) / seconds,
      latency: percentiles(waits),
      notice: percentiles(notices),
      waiting: added - started,
      running: started - ended,
      fibers
    }
    isOver = true
    waits = []
    const full = bytesInUse()
    const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
    while (closing.pollUnsafe() === undefined) yield* pass(1)
    ends.clear()
    yield* pass(1)
    const left = bytesInUse()
    return { ...figures, memory: { stacks: full - left }, cpu: { all: cpu } }
  }).pipe(
    Effect.provide(
      Layer.provideMerge(
        Layer.provideMerge(StacksEmulator.layerHttpClient, emulator),
        Layer.mergeAll(Logger.layer([]), TestClock.layer({ warningDelay: "10 minutes" }))
      )
    )
  )
