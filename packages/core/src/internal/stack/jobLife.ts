/** The life of one job in a stack: from the slot that it holds to its end. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as JobRunner from "../../JobRunner.ts"
import type * as Notifications from "../../Notifications.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { StacksError } from "../../StacksError.ts"
import { isAgentOwned, type JobState, type ScheduledJob } from "../../StacksSchema.ts"
import type { StatePoll } from "../statePoll.ts"
import type { StateDesk, TokenDesk } from "./desks.ts"
import { readAgain } from "./patience.ts"
import type { Registration } from "./registration.ts"
import type { Settings } from "./settings.ts"

/** What ends the time of a runner: itself, or something from outside. */
export type Ending = Data.TaggedEnum<{
  Ran: { readonly exit: Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError> }
  Canceled: { readonly state: JobState }
  Lost: {}
  Shutdown: {}
}>

export const Ending = Data.taggedEnum<Ending>()

/** A job that holds a slot. */
export interface InFlight {
  readonly job: ScheduledJob
  /** The first one counts. */
  readonly ending: Deferred.Deferred<Ending>
  /** How often it could not be started before. */
  readonly failures: number
}

export const end = ({ ending }: InFlight, how: Ending): void => void Deferred.doneUnsafe(ending, Exit.succeed(how))

/** How a job left its slot. */
export type Departure = Data.TaggedEnum<{
  /** It is over for this stack. */
  Done: {}
  /** It could not be started, and stays reserved for another try. */
  TryAgain: { readonly message: string }
}>

export const Departure = Data.taggedEnum<Departure>()

export interface World {
  readonly settings: Settings
  readonly client: StacksClient.Service
  readonly runner: JobRunner.Service
  readonly registration: Registration
  readonly notifications: Notifications.Service
  /** Watches jobs, every few seconds. */
  readonly states: StatePoll
  /** Tells a job's state at once. */
  readonly stateDesk: StateDesk
  readonly tokenDesk: TokenDesk
  /** For what has to get done, however long the service is away. */
  readonly patient: RetryPolicy.Policy
  readonly emit: (event: StackEvent) => Effect.Effect<void>
}

/** How often a job is started at most. */
const maxTries = 5

/** Runs a job that is reserved, and sees to its end. */
export const live = Effect.fnUntraced(function* (
  world: World,
  entry: InFlight
): Effect.fn.Return<Departure, never, Scope.Scope> {
  const { ending, failures, job } = entry
  if (failures > 0) {
    // It has waited, and nobody watched it meanwhile.
    const state = yield* world.stateDesk.ask(job.id)
    if (state !== undefined && isOver(state)) {
      yield* world.emit(StackEvent.Canceled({ job, state }))
      return Departure.Done()
    }
  }
  const now = yield* Clock.currentTimeMillis
  const mightStart = Math.max(
    DateTime.toEpochMillis(job.scheduledAt),
    DateTime.toEpochMillis(job.runnableAt ?? job.scheduledAt)
  )
  const sinceScheduled = Duration.millis(Math.max(0, now - mightStart))
  yield* world.emit(StackEvent.Started({ job, sinceScheduled }))
  const context = yield* makeContext(world, job)
  yield* world.states.join(
    {
      jobUuid: job.id,
      onState: (state) => {
        if (state !== undefined && isOver(state)) end(entry, Ending.Canceled({ state }))
      },
      onFatal: () => {}
    },
    world.settings.stateInterval
  )
  // In a fiber of its own, so that whatever it does to itself is its own end only.
  const running = yield* Effect.forkChild(
    Effect.suspend(() => world.runner.run(context)),
    { startImmediately: true }
  )
  running.addObserver((exit) => end(entry, Ending.Ran({ exit })))
  const how = yield* Deferred.await(ending)
  if (how._tag === "Ran") return yield* afterRun(world, entry, how.exit)
  yield* Fiber.interrupt(running)
  switch (how._tag) {
    case "Canceled":
      yield* world.emit(StackEvent.Canceled({ job, state: how.state }))
      break
    case "Lost":
      yield* world.emit(StackEvent.ReservationLost({ job }))
      break
    case "Shutdown":
      yield* fail(world, job, "The stack shut down before the job had ended")
  }
  return Departure.Done()
}, Effect.scoped)

/** Whether the runner of a job in this state has nothing left to do. */
const isOver = (state: JobState): boolean =>
  state === "canceled" ||
  state === "canceling" ||
  state === "timed_out" ||
  state === "timing_out" ||
  state === "expired"

// -----------------------------------------------------------------------------
// What the runner gets
// -----------------------------------------------------------------------------

const makeContext = Effect.fnUntraced(function* (
  { client, notifications, registration, settings: { key: stackKey }, stateDesk, tokenDesk }: World,
  job: ScheduledJob
): Effect.fn.Return<JobRunner.JobContext> {
  const details = yield* Effect.cached(
    client.getJob({ stackKey, jobUuid: job.id }).pipe(registration.rescue, readAgain)
  )
  const acquisitionToken = yield* Effect.cached(tokenDesk.ask(job.id))
  return {
    job,
    stackKey,
    details,
    acquisitionToken,
    state: stateDesk.ask(job.id),
    notify: (text) => notifications.notify(job.id, text)
  }
})

// -----------------------------------------------------------------------------
// Ends
// -----------------------------------------------------------------------------

const afterRun = Effect.fnUntraced(function* (
  world: World,
  { failures, job }: InFlight,
  exit: Exit.Exit<JobRunner.JobOutcome, JobRunner.JobRunnerError>
): Effect.fn.Return<Departure> {
  if (Exit.isSuccess(exit)) {
    yield* exit.value._tag === "AgentOwned" ? letGo(world, job) : finish(world, job, exit.value)
    return Departure.Done()
  }
  const error = Cause.squash(exit.cause)
  const text = Predicate.isError(error) ? error.message : String(error)
  const message = text === "" ? "The runner failed without a message" : text
  if (error instanceof JobRunner.JobRunnerError && error.isRetryable === true && failures + 1 < maxTries) {
    return Departure.TryAgain({ message })
  }
  yield* fail(world, job, message)
  return Departure.Done()
})

/** Makes sure that an agent has the job: one that died before it acquired the job leaves it reserved. */
const letGo = Effect.fnUntraced(function* (world: World, job: ScheduledJob): Effect.fn.Return<void> {
  const state = yield* world.stateDesk.ask(job.id)
  switch (state) {
    case "reserved":
      return yield* fail(world, job, "The agent ended without acquiring the job")
    case "scheduled":
      return yield* world.emit(StackEvent.ReservationLost({ job }))
    default:
      // Not knowing is no reason to finish a job that an agent may be running.
      return yield* world.emit(StackEvent.AgentOwned({ job, state }))
  }
})

const finish = (
  world: World,
  job: ScheduledJob,
  { detail, exitStatus, signalReason }: Extract<JobRunner.JobOutcome, { readonly _tag: "Finished" }>
): Effect.Effect<void> =>
  tell(
    world,
    job,
    { exitStatus, detail: detail === "" ? "finished" : detail, signalReason },
    StackEvent.Finished({ job, exitStatus, detail })
  )

/** An agent may have finished the job meanwhile, as those do that are stopped: then there is nothing to report. */
const fail = (world: World, job: ScheduledJob, detail: string): Effect.Effect<void> =>
  tell(
    world,
    job,
    { exitStatus: -1, detail, signalReason: "stack_error" },
    StackEvent.Failed({ job, detail }),
    (state) => state === "finished"
  )

/** Tells the service how a job ended, until the service has taken it or refused it for good. */
const tell = (
  world: World,
  job: ScheduledJob,
  end: { readonly exitStatus: number; readonly detail: string; readonly signalReason: string | undefined },
  taken: StackEvent,
  isSettled: (state: JobState) => boolean = () => false
): Effect.Effect<void> =>
  world.client.finishJob({ stackKey: world.settings.key, jobUuid: job.id, ...end }).pipe(
    RetryPolicy.withPolicy(world.patient),
    world.registration.rescue,
    Effect.matchEffect({
      onSuccess: () => world.emit(taken),
      onFailure: (error) => Effect.flatMap(whyRefused(world, job, error, isSettled), world.emit)
    })
  )

/** A job that somebody else has ended, or has now, is no failure of ours. */
const whyRefused = (
  world: World,
  job: ScheduledJob,
  error: StacksError,
  isSettled: (state: JobState) => boolean
): Effect.Effect<StackEvent> =>
  error._tag === "ErrorResponse" && error.reason._tag === "Unprocessable"
    ? Effect.map(world.stateDesk.ask(job.id), (state) =>
        state === undefined
          ? StackEvent.FinishRejected({ job, error })
          : isOver(state)
            ? StackEvent.Canceled({ job, state })
            : isAgentOwned(state) || isSettled(state)
              ? StackEvent.AgentOwned({ job, state })
              : StackEvent.FinishRejected({ job, error })
      )
    : Effect.succeed(StackEvent.FinishRejected({ job, error }))
