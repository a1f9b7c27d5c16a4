/**
 * The demo's stack: a runner, which says what is done with a job, and the runtime, which does the rest. A real runner would
 * start an agent with the job's acquisition token, or run the job's command; this one makes the outcomes up.
 */
import { JobRunner, Stack, type StackEvent, StacksClient, StacksSchema } from "@stacksapi/core"
import { Array, Data, Duration, Effect, Fiber, Stream } from "effect"
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

/** Does what `Stack.runUntilIdle` does, and tells the stack's events besides. */
export const run = Effect.fn("demo.run")(function* (options: Options, report: Report) {
  const { queueKey, say, seed, stackKey } = options
  const stack = yield* Stack.make({
    key: stackKey,
    queueKey,
    metadata: { program: "the demo of stacksapi" },
    maxInFlight: 50,
    shutdownGrace: "5 seconds"
  }).pipe(
    Effect.provide(runner(seed, report)),
    // A stack goes on trying until the service is there. Who watches a demo does not.
    Effect.timeoutOrElse({ duration: "30 seconds", orElse: () => Effect.fail(new NoAnswer()) })
  )

  const listener = yield* stack.events.pipe(
    Stream.tap((event) => note(event, report, say)),
    Stream.takeUntil(({ _tag }) => _tag === "Stopped"),
    Stream.runDrain,
    Effect.forkScoped({ startImmediately: true })
  )

  yield* Effect.raceAllFirst([stack.awaitIdle, stack.awaitFailure, nothingToStart(stack, options, report)]).pipe(
    // Lets what runs end, also when this is interrupted; and all of it is heard.
    Effect.ensuring(Effect.andThen(stack.drain, Fiber.await(listener)))
  )
  yield* confirm(options, report)
}, Effect.scoped)

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

/** How long to wait for jobs that may not start yet. */
const patience = Duration.seconds(10)

/** Ends when the queue has only jobs that may not start: the queue is paused, or it is not their time for long. */
const nothingToStart = (stack: Stack.Service, { say }: Options, report: Report) => {
  let quietPolls = 0
  return stack.events.pipe(
    Stream.filter((event) => event._tag === "Polled"),
    Stream.mapEffect(({ listed, startable }) =>
      Effect.gen(function* () {
        const { held, inFlight, isPaused } = yield* stack.status
        const isQuiet = listed > 0 && startable === 0 && inFlight.length === 0 && held === 0
        quietPolls = isQuiet ? quietPolls + 1 : 0
        if (quietPolls === 1 && !isPaused) yield* say(`Waiting for ${listed} jobs that may not start before their time`)
        report.leftForLater = isQuiet ? listed : 0
        // There is a poll every second.
        return isQuiet && (isPaused || quietPolls > Duration.toSeconds(patience))
      })
    ),
    Stream.takeUntil((isTime) => isTime),
    Stream.runDrain
  )
}

/** Asks the service whether it agrees on what was finished: up to 1000 jobs a request. */
const confirm = Effect.fn("demo.confirm")(function* ({ stackKey }: Options, report: Report) {
  const client = yield* StacksClient.StacksClient
  const measurements = yield* Measure.Measure
  for (const jobUuids of Array.chunksOf(report.finished.keys(), StacksSchema.MaxBatchSize)) {
    const { attempts, value } = yield* StacksClient.withResponse(client.getJobStates({ stackKey, jobUuids }))
    Measure.countRetries(measurements, "getJobStates", attempts - 1)
    for (const jobUuid of jobUuids) {
      if (value.states[jobUuid] === "finished") report.confirmed++
      else report.problems.push(`Job ${jobUuid} should be finished, but is ${value.states[jobUuid] ?? "unknown"}`)
    }
  }
})
