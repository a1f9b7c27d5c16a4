/**
 * What a stack does, from registering to leaving, one call of the API after the other. A real stack would start an agent for
 * each job, with the job's acquisition token; this one makes the outcomes up.
 */
import { ScheduledJobs, StacksClient, StacksSchema } from "@stacksapi/core"
import { Array, Cause, DateTime, Duration, Effect, Exit, Order, Result, Stream } from "effect"
import { type Outcome, simulate, stackError } from "./jobs.ts"

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
  isRegistered = false
  /** Every job that was listed and may start. */
  readonly taken = new Set<string>()
  readonly reserved = new Set<string>()
  readonly finished = new Map<string, Outcome>()
  /** How many of the finished jobs the service itself calls finished. */
  confirmed = 0
  /** Jobs that somebody else reserved first. */
  notReserved = 0
  /** Jobs that were left in the queue, because they may not start for a long time. */
  leftForLater = 0
  tokens = 0
  notifications = 0
  /** What went wrong for good. */
  readonly problems: Array<string> = []

  get isComplete(): boolean {
    const jobs = this.reserved.size
    return this.finished.size === jobs && this.confirmed === jobs && this.problems.length === 0
  }
}

/** How many jobs are taken together. A request reserves up to 1000, but what is not being worked on is better left to others. */
const batchSize = 50

/** How many batches, and how many jobs of each, are worked on at the same time. */
const concurrency = { batches: 2, jobs: 10 }

/** How long to wait for jobs that may not start yet. */
const patience = Duration.seconds(10)

export const run = Effect.fn("demo.run")(function* (options: Options, report: Report) {
  const client = yield* StacksClient.StacksClient

  // Leaving is arranged before coming: a registration that is interrupted may have arrived.
  yield* Effect.addFinalizer((exit) => {
    const isThere = report.isRegistered || Exit.isSuccess(exit) || Cause.hasInterrupts(exit.cause)
    return isThere ? leave(options, report) : Effect.void
  })
  yield* client.registerStack({
    key: options.stackKey,
    type: "custom",
    queueKey: options.queueKey,
    metadata: { program: "the demo of stacksapi" }
  })
  report.isRegistered = true
  yield* options.say(`Registered the stack ${options.stackKey} for the queue ${options.queueKey}`)

  // The list is no snapshot: jobs come while it is read, and those that had to wait may start later. So it is read again,
  // from the top, until there is nothing left to take.
  while (true) {
    report.activity = "reading the list"
    const { clusterQueue } = yield* client.listScheduledJobs({
      stackKey: options.stackKey,
      clusterQueueKey: options.queueKey,
      pageSize: 1
    })
    if (clusterQueue.dispatchPaused) {
      yield* options.say("The queue is paused: its jobs are listed, but must not be started")
      break
    }
    const { startTimes, taken } = yield* takeAll(options, report)
    const now = yield* DateTime.now
    const soon = startTimes.filter((time) => Duration.isLessThanOrEqualTo(DateTime.distance(now, time), patience))
    report.leftForLater = startTimes.length - soon.length
    if (Array.isArrayNonEmpty(soon)) {
      const wait = DateTime.distance(now, soon.reduce(DateTime.max))
      report.activity = "waiting"
      yield* options.say(`Waiting for ${soon.length} jobs that may not start before their time`)
      yield* Effect.sleep(wait)
    } else if (taken === 0) {
      break
    }
  }

  report.activity = "checking"
  yield* confirm(options, report)
})

/** Reads the list once, and takes every job that may start. */
const takeAll = Effect.fn("demo.takeAll")(function* (options: Options, report: Report) {
  const now = yield* DateTime.now
  const startTimes: Array<DateTime.Utc> = []
  let taken = 0

  // While one page is worked on, the next one is already on its way; no more than that is held in memory.
  yield* ScheduledJobs.stream({
    stackKey: options.stackKey,
    clusterQueueKey: options.queueKey,
    pageSize: 100
  }).pipe(
    Stream.filter(({ id, runnableAt }) => {
      if (report.taken.has(id)) return false
      if (runnableAt == null || DateTime.isLessThanOrEqualTo(runnableAt, now)) return true
      startTimes.push(runnableAt)
      return false
    }),
    Stream.grouped(batchSize),
    Stream.mapEffect(
      (jobs) => {
        taken += jobs.length
        for (const { id } of jobs) report.taken.add(id)
        return take(options, report, jobs)
      },
      { concurrency: concurrency.batches }
    ),
    Stream.runDrain
  )
  return { taken, startTimes }
})

/** Takes a batch of jobs from the list to their end. */
const take = Effect.fn("demo.take")(function* (
  options: Options,
  report: Report,
  jobs: ReadonlyArray<StacksSchema.ScheduledJob>
) {
  const { seed, stackKey } = options
  const client = yield* StacksClient.StacksClient

  // The list has the oldest jobs first. Which one of them matters most is the stack's to decide.
  const jobUuids = Array.sort(
    jobs,
    Order.mapInput(Order.flip(Order.Number), (job: StacksSchema.ScheduledJob) => job.priority)
  ).map((job) => job.id)

  report.activity = "reserving"
  const reservation = yield* Effect.result(client.batchReserveJobs({ stackKey, jobUuids }))
  if (Result.isFailure(reservation)) {
    report.problems.push(`${jobUuids.length} jobs may or may not be reserved: ${reservation.failure.message}`)
    return
  }
  // It is no failure that another stack was faster: those jobs are simply not ours.
  const { notReserved, reserved } = reservation.success
  report.notReserved += notReserved.length
  for (const id of reserved) report.reserved.add(id)
  if (!Array.isReadonlyArrayNonEmpty(reserved)) return

  report.activity = "preparing"
  const [tokens] = yield* Effect.all(
    [
      // An agent needs the token of its job. Where there is none, the job must not be started.
      client.issueJobAcquisitionTokens({ stackKey, jobUuids: reserved }).pipe(
        Effect.map(({ tokens }) => new Map(tokens.map(({ jobUuid, token }) => [jobUuid, token]))),
        Effect.result
      ),
      // What users read beside the job while they wait for it. Losing it is no reason to give the job up.
      client
        .createStackNotifications({
          stackKey,
          notifications: reserved.map((jobUuid) => ({ jobUuid, detail: "Starting on an imaginary machine" }))
        })
        .pipe(
          Effect.match({
            onSuccess: ({ errors }) => {
              const rejected = new Set(errors.flatMap(({ indexes }) => indexes))
              report.notifications += reserved.length - rejected.size
            },
            onFailure: (error) => void report.problems.push(`Not notified: ${error.message}`)
          })
        )
    ],
    { concurrency: "unbounded" }
  )

  if (Result.isSuccess(tokens)) report.tokens += tokens.success.size

  report.activity = "finishing"
  yield* Effect.forEach(
    reserved,
    Effect.fnUntraced(function* (jobUuid) {
      const outcome = yield* Result.isSuccess(tokens) && tokens.success.has(jobUuid)
        ? client.getJob({ stackKey, jobUuid }).pipe(
            Effect.map((details) => simulate(details, seed)),
            Effect.catch((error) => Effect.succeed(stackError(`The job's details could not be read: ${error.message}`)))
          )
        : Effect.succeed(stackError("No acquisition token was issued for this job"))

      // Sent again after a lost response only where the service has not finished the job: it has one effect at most.
      yield* client.finishJob({ stackKey, jobUuid, ...outcome }).pipe(
        Effect.match({
          onSuccess: () => void report.finished.set(jobUuid, outcome),
          onFailure: (error) => void report.problems.push(`Job ${jobUuid} was not finished: ${error.message}`)
        })
      )
    }),
    { concurrency: concurrency.jobs, discard: true }
  )
})

/** Asks the service whether it agrees on what was finished: up to 1000 jobs a request. */
const confirm = Effect.fn("demo.confirm")(function* ({ stackKey }: Options, report: Report) {
  const client = yield* StacksClient.StacksClient
  for (const jobUuids of Array.chunksOf(report.finished.keys(), StacksSchema.MaxBatchSize)) {
    const { states } = yield* client.getJobStates({ stackKey, jobUuids })
    for (const jobUuid of jobUuids) {
      if (states[jobUuid] === "finished") report.confirmed++
      else report.problems.push(`Job ${jobUuid} should be finished, but is ${states[jobUuid] ?? "unknown"}`)
    }
  }
})

/** Deregisters, also when the run failed or was interrupted: then in a few seconds or not at all. */
const leave = Effect.fn("demo.leave")(function* ({ say, stackKey }: Options, report: Report) {
  report.activity = "deregistering"
  const client = yield* StacksClient.StacksClient
  yield* client.deregisterStack({ stackKey }).pipe(
    // It was not registered, or it is gone already: the response to an earlier attempt can have been lost.
    Effect.catchReason("ErrorResponse", "NotFound", () => Effect.void),
    Effect.timeout("5 seconds"),
    Effect.matchEffect({
      onSuccess: () => say("Deregistered"),
      onFailure: (error) => say(`Not deregistered: ${error.message}`)
    })
  )
})
