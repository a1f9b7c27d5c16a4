/** A stack over HTTP, as fast as the service lets it: what it holds must not grow. */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { JobRunner, Stack } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import { Duration, Effect, Layer, Logger, Metric, Redacted, Schedule, Scope } from "effect"
import { growth, type Sample } from "../../support/growth.ts"
import type { Leak } from "../../support/leaks.ts"
import { countFibers, format, grown, type ResourceUsage, resourceUsage } from "../../support/resourceUsage.ts"

/** What the stack holds at a moment in which no job is here. */
export interface Checkpoint extends Sample {
  /** Since the start, the moments of rest left out. */
  readonly seconds: number
}

export interface Soaked {
  readonly checkpoints: ReadonlyArray<Checkpoint>
  readonly before: ResourceUsage
  readonly after: ResourceUsage
  /** Fibers that are left when all is over. */
  readonly fibersLeft: number
}

export const line = ({ fibers, jobs, seconds, resourceUsage }: Checkpoint): string =>
  `${seconds.toFixed(0).padStart(5)} s, ${String(jobs).padStart(6)} jobs until now: ${fibers} fibers, ${format(resourceUsage)}`

/** The service, in a process of its own. */
const service = Effect.acquireRelease(
  Effect.sync(() => fork(fileURLToPath(new URL("./service.ts", import.meta.url)))),
  (child) =>
    Effect.callback<void>((resume) => {
      child.once("exit", () => resume(Effect.void))
      child.disconnect()
    })
).pipe(
  Effect.flatMap((child) =>
    Effect.map(
      Effect.callback<string>(
        (resume) => void child.once("message", (baseUrl: string) => resume(Effect.succeed(baseUrl)))
      ),
      (baseUrl) => ({ baseUrl, pause: (paused: boolean) => Effect.sync(() => void child.send(paused)) })
    )
  )
)

export interface Options {
  /** How long it works before each checkpoint, at least. */
  readonly interval: Duration.Input
  /** How many jobs must have been here meanwhile, however long that takes. */
  readonly jobsEach: number
  readonly intervals: number
  /** How long it then rests, after the last job has ended: idle connections close after 4 seconds. */
  readonly rest: Duration.Input
  readonly onCheckpoint?: (checkpoint: Checkpoint) => void
  /** Something to leak for each job. */
  readonly leak?: Leak | undefined
}

/** Works for a number of intervals, and takes stock at the end of each. */
export const soak = Effect.fnUntraced(function* ({ interval, intervals, jobsEach, leak, onCheckpoint, rest }: Options) {
  const before = yield* resourceUsage
  const fibers = countFibers()
  let jobs = 0
  const makeRunner = Effect.map(Effect.scope, (scope) =>
    JobRunner.layer(({ acquisitionToken, details, job, notify }) =>
      Effect.gen(function* () {
        if (leak !== undefined) yield* Scope.provide(leak(job.id), scope)
        yield* notify("running")
        yield* details
        // Of these the service lets a stack have 10 a second.
        if (++jobs % 20 === 0) yield* acquisitionToken
        return JobRunner.Finished({ exitStatus: 0, detail: "done" })
      })
    )
  )
  const until = <A>(look: Effect.Effect<A>, isMet: (seen: A) => boolean) =>
    look.pipe(Effect.delay("100 millis"), Effect.repeat({ until: isMet }))
  /** The least of three looks: an answer that is being read is nothing that is kept. */
  const least = Effect.map(
    Effect.all([resourceUsage, Effect.delay(resourceUsage, "300 millis"), Effect.delay(resourceUsage, "300 millis")]),
    (looks) => looks.reduce((a, b) => (b.heap < a.heap ? b : a))
  )
  const checkpoints: Array<Checkpoint> = []
  const running = Effect.gen(function* () {
    const { baseUrl, pause } = yield* service
    const client = NodeStacksClient.layer({ baseUrl, token: Redacted.make("bkct_emulator") })
    const context = yield* Layer.build(Layer.merge(client, yield* makeRunner))
    const stack = yield* Effect.provideContext(
      Stack.make({ key: "soak", queueKey: "q", maxInFlight: 300, shutdownGrace: "1 second" }),
      context
    )
    for (let number = 1; number <= intervals; number++) {
      yield* pause(false)
      yield* Effect.sleep(interval)
      yield* until(
        Effect.sync(() => jobs),
        (jobs) => jobs >= number * jobsEach
      )
      yield* pause(true)
      yield* until(stack.status, ({ inFlight, isPaused }) => isPaused && inFlight.length === 0)
      yield* Effect.sleep(rest)
      const checkpoint: Checkpoint = {
        seconds: Duration.toSeconds(Duration.fromInputUnsafe(interval)) * number,
        jobs,
        fibers: fibers.alive(),
        resourceUsage: yield* least
      }
      checkpoints.push(checkpoint)
      onCheckpoint?.(checkpoint)
    }
  }).pipe(
    Effect.scoped,
    Effect.provide(Logger.layer([])),
    Effect.provideService(Metric.MetricRegistry, new Map()),
    Effect.provideService(Metric.FiberRuntimeMetrics, fibers.service)
  )
  yield* running
  // A socket that was told to close does so in its own time.
  const end = Effect.map(resourceUsage, (after): Soaked => ({ checkpoints, before, after, fibersLeft: fibers.alive() }))
  return yield* end.pipe(
    Effect.repeat({
      schedule: Schedule.spaced("100 millis"),
      times: 50,
      until: (soaked) => leftIn(soaked).length === 0
    })
  )
})

/** What is left when all is over. */
const leftIn = ({ after, before, fibersLeft }: Soaked): ReadonlyArray<string> => [
  ...grown(before, after).map((what) => `left open, ${what}`),
  ...(fibersLeft > 0 ? [`${fibersLeft} fibers were left at the end`] : [])
]

/** What grew, or was left. */
export const problemsOf = (soaked: Soaked): ReadonlyArray<string> => [...growth(soaked.checkpoints), ...leftIn(soaked)]
