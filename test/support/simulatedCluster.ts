/** A cluster on a simulated database, with an emulator in process, under a TestClock: its processes can be killed and cut off. */
import { JobRunner, StacksClient } from "@stacksapi/core"
import { isFinal } from "@stacksapi/core/StacksSchema"
import { StacksEmulator } from "@stacksapi/core/testing"
import type * as ClusterStack from "@stacksapi/node/ClusterStack"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Random, Scope } from "effect"
import { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import * as Cluster from "../../packages/node/src/internal/cluster/cluster.ts"
import { diedMessage } from "../../packages/node/src/internal/cluster/recovery.ts"
import type { Storage } from "../../packages/node/src/internal/cluster/storage.ts"
import { Database, type Faults } from "./clusterStorage.ts"
import { requestsOfNonLeaders } from "./runRecorder.ts"
import { testClock } from "./testClock.ts"

export interface StartOptions {
  readonly queues?: ReadonlyArray<string>
  readonly slots?: number
  readonly onProcessDeath?: "fail" | "retry"
  readonly lockExpiration?: Duration.Input
  readonly shutdownGrace?: Duration.Input
  readonly faults?: Faults
  readonly run?: Run | undefined
  readonly outlivesStack?: boolean
  readonly isDeaf?: boolean
  readonly name?: string
}

export type Run = (context: JobRunner.JobContext) => Effect.Effect<JobRunner.JobOutcome, unknown>

export interface Member extends ClusterStack.Service {
  readonly name: string
  /** Ends it as SIGKILL does: nothing of it reaches anybody. */
  readonly kill: () => void
  /** Cuts it off from the database, or joins it again. */
  readonly cut: (isCut: boolean) => void
  /** Stops it as SIGTERM does. */
  readonly stop: Effect.Effect<void>
}

/** One run of a job by one process. */
export interface JobRun {
  readonly name: string
  readonly jobUuid: string
  readonly from: number
  to: number
  wasInterrupted: boolean
}

const passed = JobRunner.Finished({ exitStatus: 0, detail: "done" })

/** Takes as many milliseconds as the job's command says. */
export const sleeps: Run = ({ details }) =>
  Effect.flatMap(details, ({ command }) => Effect.as(Effect.sleep(Number(command)), passed))

export interface Simulation {
  readonly database: Database
  readonly runs: ReadonlyArray<JobRun>
  readonly start: (options?: StartOptions) => Effect.Effect<Member>
  readonly addJobs: (
    count: number,
    millis?: number | ((index: number) => number),
    queueKey?: string
  ) => Effect.Effect<ReadonlyArray<string>>
  /** Cancels a job, as a user does. */
  readonly cancel: (jobUuid: string) => Effect.Effect<void>
  readonly areOver: (count: number) => Effect.Effect<boolean>
  readonly allOver: Effect.Effect<boolean>
  /** What must not be: jobs that did not pass and were not canceled, or were finished twice, or ran at two places at a time. */
  readonly violations: Effect.Effect<ReadonlyArray<string>>
  /** The queues that each of these members leads. */
  readonly led: (members: ReadonlyArray<Member>) => Effect.Effect<ReadonlyArray<ReadonlyArray<string>>>
}

/** Lets time pass until something holds. Dies after ten simulated minutes, or as many as are given. */
export const until = <E, R>(condition: Effect.Effect<boolean, E, R>, minutes = 10): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    for (let step = 0; step < minutes * 600; step++) {
      if (yield* condition) return
      yield* TestClock.adjust("100 millis")
    }
    return yield* Effect.die(new Error(`It does not hold after ${minutes} simulated minutes`))
  })

/** Lets time pass while something is done. */
export const during = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
    return yield* Fiber.join(fiber)
  })

export const make: Effect.Effect<
  Simulation,
  never,
  StacksEmulator.StacksEmulator | HttpClient.HttpClient | Scope.Scope
> = Effect.gen(function* () {
  const emulator = yield* StacksEmulator.StacksEmulator
  const http = yield* HttpClient.HttpClient
  const database = new Database(5000)
  const runs: Array<JobRun> = []
  const stops: Array<Effect.Effect<void>> = []
  let count = 0
  yield* Effect.addFinalizer(() => during(Effect.forEach(stops, (stop) => stop, { concurrency: "unbounded" })))

  const start = Effect.fnUntraced(function* (options: StartOptions = {}): Effect.fn.Return<Member> {
    const { isDeaf = false, outlivesStack = false, queues = ["q"], run = sleeps, slots = 10 } = options
    const name = options.name ?? `m${++count}`
    const scope = yield* Scope.make()
    const state = { isDead: false, isCut: false }
    const runner = JobRunner.layer(
      (context) =>
        Effect.acquireUseRelease(
          Effect.map(Clock.currentTimeMillis, (from) => {
            const own: JobRun = {
              name,
              jobUuid: context.job.id,
              from,
              to: Number.POSITIVE_INFINITY,
              wasInterrupted: false
            }
            if (!state.isDead) runs.push(own)
            return own
          }),
          () => run(context),
          (own, exit) =>
            Effect.map(Clock.currentTimeMillis, (now) => {
              own.to = Math.min(own.to, now)
              own.wasInterrupted = Exit.hasInterrupts(exit)
            })
        ),
      { outlivesStack }
    )
    const client = yield* StacksClient.make({
      baseUrl: emulator.baseUrl,
      token: emulator.token,
      userAgentPrefix: name
    }).pipe(
      Effect.provideService(
        HttpClient.HttpClient,
        HttpClient.transform(http, (response) => Effect.suspend(() => (state.isDead ? Effect.never : response)))
      )
    )
    const expiration = Duration.fromInputUnsafe(options.lockExpiration ?? "5 seconds")
    const storage = unreachable(
      database.connect(options.faults, Duration.toMillis(expiration)),
      () => state.isDead || state.isCut,
      isDeaf
    )
    const service = yield* Cluster.make(storage, {
      key: "s",
      name,
      stacks: queues.map((queueKey) => ({ queueKey, key: `s--${queueKey}` })),
      slots,
      expiration,
      onProcessDeath: options.onProcessDeath ?? "retry",
      shutdownGrace: Duration.fromInputUnsafe(options.shutdownGrace ?? "30 seconds"),
      publish: () => {}
    }).pipe(
      Effect.provide(runner),
      Effect.provideService(StacksClient.StacksClient, client),
      Random.withSeed(name),
      Scope.provide(scope),
      Effect.orDie
    )
    const running = yield* Effect.never.pipe(
      Effect.onExit((exit) => Scope.close(scope, exit)),
      Effect.forkDetach({ startImmediately: true })
    )
    const stop = Fiber.interrupt(running)
    stops.push(stop)
    const clock = yield* Clock.Clock
    return {
      ...service,
      name,
      kill: () => {
        state.isDead = true
        const now = clock.currentTimeMillisUnsafe()
        for (const run of runs) if (run.name === name) run.to = Math.min(run.to, now)
      },
      cut: (isCut) => {
        state.isCut = isCut
      },
      stop
    }
  })

  const jobsOver = Effect.map(emulator.jobs, (jobs) => jobs.filter(({ state }) => isFinal(state)).length)
  const canceled = new Set<string>()
  return {
    database,
    runs,
    start: (options) => during(start(options)),
    addJobs: (count, millis = 100, queueKey = "q") =>
      Effect.map(
        emulator.addJobs(
          Array.from({ length: count }, (_, index) => ({
            queueKey,
            command: String(typeof millis === "number" ? millis : millis(index))
          }))
        ),
        (jobs) => jobs.map(({ id }) => id)
      ),
    cancel: (jobUuid) => {
      canceled.add(jobUuid)
      return emulator.cancelJob(jobUuid)
    },
    areOver: (count) => Effect.map(jobsOver, (over) => over >= count),
    allOver: Effect.map(emulator.jobs, (jobs) => jobs.every(({ state }) => isFinal(state))),
    violations: Effect.gen(function* () {
      const jobs = yield* emulator.jobs
      const requests = yield* emulator.requests
      const finishes = requests.filter(({ operation, status }) => operation === "finishJob" && status === 200)
      return [
        ...jobs.flatMap((job) =>
          job.exitStatus === 0 || canceled.has(job.id) ? [] : [`${job.id} is ${job.state}: ${job.detail}`]
        ),
        ...jobs.flatMap(({ id }) => {
          const count = finishes.filter(({ path }) => path.includes(id)).length
          return count <= 1 ? [] : [`${id} was finished ${count} times`]
        }),
        ...overlaps(runs),
        ...requestsOfNonLeaders(requests),
        ...requests.flatMap(({ operation, status }) => (status === 429 ? [`${operation} was answered 429`] : []))
      ]
    }),
    led: (members) =>
      Effect.forEach(members, ({ status }) =>
        Effect.map(status, ({ leading }) => leading.map(({ stackKey }) => stackKey))
      )
  }
})

/** The members, those that lead first. */
export const byLeading = (cluster: Simulation, members: ReadonlyArray<Member>) =>
  Effect.map(cluster.led(members), (led) =>
    members.toSorted((a, b) => (led[members.indexOf(b)]?.length ?? 0) - (led[members.indexOf(a)]?.length ?? 0))
  )

/** How many milliseconds pass until something holds, to a tenth of a second. */
export const timeUntil = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function* () {
    const from = yield* Clock.currentTimeMillis
    yield* until(condition)
    return (yield* Clock.currentTimeMillis) - from
  })

/** Whether a violation is only that a job has failed whose process died, or had to interrupt it. */
export const isProcessDeath = ({ database, runs }: Simulation, violation: string): boolean => {
  const [jobUuid = ""] = violation.split(" ")
  const hasExpired = Array.from(database.claimants.get(jobUuid) ?? []).some((id) => database.expired.has(id))
  const wasInterrupted = runs.some((run) => run.jobUuid === jobUuid && run.wasInterrupted)
  return violation.endsWith(diedMessage) && (hasExpired || wasInterrupted)
}

/** Two runs of one job that are not one after the other. */
const overlaps = (runs: ReadonlyArray<JobRun>): ReadonlyArray<string> =>
  runs.flatMap((run, index) =>
    runs
      .slice(0, index)
      .filter((other) => other.jobUuid === run.jobUuid && other.to > run.from && run.to > other.from)
      .map((other) => `${run.jobUuid} runs at ${other.name} and at ${run.name}, from ${run.from}`)
  )

/** A database that does not answer while the process can't reach it, and to a deaf process tells nothing by itself. */
const unreachable = (storage: Storage, isCut: () => boolean, isDeaf: boolean): Storage => {
  const gate = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() =>
      isCut() ? Effect.never : Effect.flatMap(effect, (answer) => (isCut() ? Effect.never : Effect.succeed(answer)))
    )
  return {
    join: (member) => gate(storage.join(member)),
    heartbeat: (...args) => gate(storage.heartbeat(...args)),
    leave: (memberId) => gate(storage.leave(memberId)),
    deleteExpired: gate(storage.deleteExpired),
    snapshot: (memberId) => gate(storage.snapshot(memberId)),
    take: (...args) => gate(storage.take(...args)),
    resign: (term) => gate(storage.resign(term)),
    load: (term) => gate(storage.load(term)),
    save: (...args) => gate(storage.save(...args)),
    remove: (...args) => gate(storage.remove(...args)),
    offer: (...args) => gate(storage.offer(...args)),
    requestStop: (...args) => gate(storage.requestStop(...args)),
    ended: (memberId) => gate(storage.ended(memberId)),
    claim: (...args) => gate(storage.claim(...args)),
    end: (...args) => gate(storage.end(...args)),
    giveBack: (...args) => gate(storage.giveBack(...args)),
    listen: (onHint) => (isDeaf ? Effect.never : storage.listen((hint) => (isCut() ? undefined : onHint(hint)))),
    notify: (hint) => gate(storage.notify(hint)),
    collectGarbage: gate(storage.collectGarbage)
  }
}

/** A test with an emulator in process. */
export const simulated = <E>(
  test: Effect.Effect<void, E, StacksEmulator.StacksEmulator | HttpClient.HttpClient | Scope.Scope>,
  options?: StacksEmulator.Options
) =>
  Effect.scoped(test).pipe(
    Effect.provide(
      Layer.mergeAll(StacksEmulator.layerHttpClient.pipe(Layer.provideMerge(StacksEmulator.layer(options))), testClock)
    )
  )
