/**
 * The demo's stack: a runner, which says what is done with a job, and the runtime, which does the rest. A real runner would
 * start an agent with the job's acquisition token, or run the job's command; this one makes the outcomes up.
 */
import { JobRunner, Stack, type StackEvent, StacksClient, StacksSchema } from "@stacksapi/core"
import type { JobOutput } from "@stacksapi/node"
import { Array, Clock, Data, Deferred, Effect, Stream } from "effect"
import { simulate } from "./jobs.ts"
import * as Measure from "./measure.ts"
import type { Progress } from "./progress.ts"

export interface Options {
  readonly stackKey: string
  readonly queueKey: string
  /** Decides the outcomes. */
  readonly seed: number
  /** Shows how it goes. */
  readonly progress: Progress
}

/** What was done so far. It is complete only when the run is, but can be read at any time. */
export class Report {
  isRegistered = false
  /** The jobs that run, with what they pretend to do. */
  readonly running = new Map<string, Pretence>()
  readonly reserved = new Set<string>()
  /** The jobs that the service took as finished, and how. */
  readonly finished = new Map<string, Outcome>()
  /** How many of the finished jobs the service itself calls finished. */
  confirmed = 0
  /** Jobs that somebody else reserved first. */
  readonly notReserved = new Set<string>()
  /** Jobs that were canceled, or given to somebody else, while they were here. */
  readonly gone = new Set<string>()
  /** Jobs that were left in the queue, because they may not start, or not for a long time. */
  leftForLater = 0
  tokens = 0
  /** What went wrong for good. */
  readonly problems: Array<string> = []

  get isComplete(): boolean {
    const jobs = this.reserved.size
    return this.finished.size === jobs && this.confirmed === jobs && this.problems.length === 0
  }
}

interface Pretence {
  readonly command: string
  readonly seconds: number
  /** Milliseconds. */
  readonly startedAt: number
}

export type Outcome = "passed" | "failed" | "killed" | "stack error"

class NoAnswer extends Data.TaggedError("NoAnswer") {
  override readonly message = "The service did not answer for 30 seconds: the stack could not be registered."
}

/** How many milliseconds a job really takes of each second that it pretends to. */
const pace = 4

/** What is done with each job. The runtime reserved it, renews that, interrupts this if the job is canceled, and finishes it. */
const runner = (seed: number, report: Report) =>
  JobRunner.layer(
    Effect.fn("demo.runJob")(function* ({ acquisitionToken, details, notify }) {
      yield* notify("Starting on an imaginary machine")
      const job = yield* details
      // Here an agent would start with it. Where there is none, this fails, and the job is finished as a stack error.
      yield* acquisitionToken
      report.tokens++
      const { outcome, seconds } = simulate(job, seed)
      report.running.set(job.id, { command: job.command, seconds, startedAt: yield* Clock.currentTimeMillis })
      yield* Effect.ensuring(
        Effect.sleep(seconds * pace),
        Effect.sync(() => report.running.delete(job.id))
      )
      return yield* outcome
    })
  )

/** What the jobs would print if they ran. */
export const pretendedOutput = (report: Report): JobOutput.Service => ({
  lines: Stream.empty,
  tail: (jobUuid) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const pretence = report.running.get(jobUuid)
      if (pretence === undefined) return []
      const { command, seconds, startedAt } = pretence
      const done = Math.min(1, (now - startedAt) / (seconds * pace))
      return [`${String(Math.floor(done * 100)).padStart(2)} % of ${command}`]
    })
})

export const run = Effect.fn("demo.run")(function* (options: Options, report: Report) {
  const { progress, queueKey, seed, stackKey } = options
  const waiting = new Waiting(options)
  const stack = Effect.gen(function* () {
    const stack = yield* Stack.make({
      key: stackKey,
      queueKey,
      metadata: { program: "the demo of stacksapi" },
      maxInFlight: 50,
      shutdownGrace: "5 seconds",
      onEvent: (event) =>
        Effect.all([progress.onEvent(event), note(event, report, progress.say), waiting.note(event, report)], {
          discard: true
        })
    })
    yield* progress.watch(stack)
    yield* Effect.raceFirst(stack.awaitIdle, stack.awaitFailure)
  }).pipe(Effect.scoped, Effect.provide(runner(seed, report)))

  // Whoever is first ends the others: a stack that is ended lets its jobs end, and deregisters.
  yield* Effect.raceAllFirst([stack, waiting.isOver, noAnswer(report)])
  yield* confirm(options, report)
})

/** A stack goes on trying until the service is there. Who watches a demo does not. */
const noAnswer = (report: Report) =>
  Effect.suspend(() => (report.isRegistered ? Effect.never : Effect.fail(new NoAnswer()))).pipe(
    Effect.delay("30 seconds")
  )

/** Notes what an event says. */
const note = (event: StackEvent.StackEvent, report: Report, say: Progress["say"]): Effect.Effect<void> => {
  switch (event._tag) {
    case "Registered":
      report.isRegistered = true
      return say(`Registered the stack ${event.stackKey} for the queue ${event.queueKey}`)
    case "Paused":
      return say("The queue is paused: its jobs are listed, but must not be started")
    case "Reserved":
      report.reserved.add(event.job.id)
      report.notReserved.delete(event.job.id)
      break
    case "NotReserved":
      report.notReserved.add(event.job.id)
      break
    case "Finished":
      report.finished.set(
        event.job.id,
        event.exitStatus === 0 ? "passed" : event.exitStatus > 128 ? "killed" : "failed"
      )
      break
    case "Failed":
      report.finished.set(event.job.id, "stack error")
      break
    case "Canceled":
    case "ReservationLost":
      report.reserved.delete(event.job.id)
      report.gone.add(event.job.id)
      break
    case "FinishRejected":
      report.problems.push(`Job ${event.job.id} was not finished: ${event.error.message}`)
  }
  return Effect.void
}

/** How many polls to wait, at one a second, for jobs that may not start yet. */
const patience = 10

/** Notices when the queue has only jobs that may not start: the queue is paused, or it is not their time for long. */
class Waiting {
  private readonly over = Deferred.makeUnsafe<void>()
  private readonly say: Progress["say"]
  private isPaused = false
  private quietPolls = 0

  constructor({ progress }: Options) {
    this.say = progress.say
  }

  get isOver(): Effect.Effect<void> {
    return Deferred.await(this.over)
  }

  note(event: StackEvent.StackEvent, report: Report): Effect.Effect<void> {
    if (event._tag === "Paused" || event._tag === "Resumed") this.isPaused = event._tag === "Paused"
    if (event._tag !== "Polled") return Effect.void
    const isQuiet = event.listed > 0 && event.startable === 0 && report.finished.size === report.reserved.size
    this.quietPolls = isQuiet ? this.quietPolls + 1 : 0
    report.leftForLater = isQuiet ? event.listed : 0
    if (isQuiet && (this.isPaused || this.quietPolls > patience)) {
      return Effect.asVoid(Deferred.succeed(this.over, undefined))
    }
    return this.quietPolls === 1
      ? this.say(`Waiting for ${event.listed} jobs that may not start before their time`)
      : Effect.void
  }
}

/** Asks the service whether it agrees on what was finished: up to 1000 jobs a request. Only a registered stack may ask. */
const confirm = Effect.fn("demo.confirm")(function* ({ queueKey, stackKey }: Options, report: Report) {
  const client = yield* StacksClient.StacksClient
  const measurements = yield* Measure.Measure
  yield* Effect.acquireRelease(client.registerStack({ key: stackKey, type: "custom", queueKey }), () =>
    Effect.ignore(client.deregisterStack({ stackKey }))
  )
  for (const jobUuids of Array.chunksOf(report.finished.keys(), StacksSchema.MaxBatchSize)) {
    const { attempts, value } = yield* StacksClient.withResponse(client.getJobStates({ stackKey, jobUuids }))
    Measure.countRetries(measurements, "getJobStates", attempts - 1)
    for (const jobUuid of jobUuids) {
      if (value.states[jobUuid] === "finished") report.confirmed++
      else report.problems.push(`Job ${jobUuid} should be finished, but is ${value.states[jobUuid] ?? "unknown"}`)
    }
  }
}, Effect.scoped)
