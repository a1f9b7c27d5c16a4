/**
 * The demo's stack: a runner, which says what is done with a job, and the runtime, which does the rest. A real runner would
 * start an agent with the job's acquisition token, or run the job's command; this one makes the outcomes up.
 */
import { JobRunner, Stack, type StackEvent, StacksClient, StacksSchema } from "@stacksapi/core"
import { Array, Data, Deferred, Effect } from "effect"
import { simulate } from "./jobs.ts"
import * as Measure from "./measure.ts"

export interface Options {
  readonly stackKey: string
  readonly queueKey: string
  /** Decides the outcomes. */
  readonly seed: number
  /** Tells how it goes. */
  readonly say: (line: string) => Effect.Effect<void>
}

/** What was done so far. It is complete only when the run is, but good for a progress bar at any time. */
export class Report {
  /** What is being done right now. */
  activity = "registering"
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

export type Outcome = "passed" | "failed" | "killed" | "stack error"

class NoAnswer extends Data.TaggedError("NoAnswer") {
  override readonly message = "The service did not answer for 30 seconds: the stack could not be registered."
}

/** What is done with each job. The runtime reserved it, renews that, interrupts this if the job is canceled, and finishes it. */
const runner = (seed: number, report: Report) =>
  JobRunner.layer(
    Effect.fn("demo.runJob")(function* ({ acquisitionToken, details, notify }) {
      yield* notify("Starting on an imaginary machine")
      const job = yield* details
      // Here an agent would start with it. Where there is none, this fails, and the job is finished as a stack error.
      yield* acquisitionToken
      report.tokens++
      return yield* simulate(job, seed)
    })
  )

export const run = Effect.fn("demo.run")(function* (options: Options, report: Report) {
  const { queueKey, say, seed, stackKey } = options
  const waiting = new Waiting(options)
  const stack = Stack.runUntilIdle({
    key: stackKey,
    queueKey,
    metadata: { program: "the demo of stacksapi" },
    maxInFlight: 50,
    shutdownGrace: "5 seconds",
    onEvent: (event) => Effect.andThen(note(event, report, say), waiting.note(event, report))
  }).pipe(Effect.provide(runner(seed, report)))

  // Whoever is first ends the others: a stack that is ended lets its jobs end, and deregisters.
  yield* Effect.raceAllFirst([stack, waiting.isOver, noAnswer(report)])
  yield* confirm(options, report)
})

/** A stack goes on trying until the service is there. Who watches a demo does not. */
const noAnswer = (report: Report) =>
  Effect.suspend(() => (report.activity === "registering" ? Effect.fail(new NoAnswer()) : Effect.never)).pipe(
    Effect.delay("30 seconds")
  )

/** Notes what an event says. */
const note = (event: StackEvent.StackEvent, report: Report, say: Options["say"]): Effect.Effect<void> => {
  switch (event._tag) {
    case "Registered":
      report.activity = "running"
      return say(`Registered the stack ${event.stackKey} for the queue ${event.queueKey}`)
    case "Paused":
      return say("The queue is paused: its jobs are listed, but must not be started")
    case "Draining":
      report.activity = "leaving"
      break
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
    case "Lost":
      report.reserved.delete(event.job.id)
      report.gone.add(event.job.id)
      break
    case "GivenUp":
      report.problems.push(`Job ${event.job.id} was not finished: ${event.error.message}`)
  }
  return Effect.void
}

/** How many polls to wait, at one a second, for jobs that may not start yet. */
const patience = 10

/** Notices when the queue has only jobs that may not start: the queue is paused, or it is not their time for long. */
class Waiting {
  private readonly over = Deferred.makeUnsafe<void>()
  private readonly say: Options["say"]
  private isPaused = false
  private quietPolls = 0

  constructor({ say }: Options) {
    this.say = say
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
