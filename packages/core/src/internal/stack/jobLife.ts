/** The life of one job in a stack: from the slot that it holds to its end. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import * as JobRunner from "../../JobRunner.ts"
import type * as Notifications from "../../Notifications.ts"
import * as RetryPolicy from "../../RetryPolicy.ts"
import { StackEvent } from "../../StackEvent.ts"
import type * as StacksClient from "../../StacksClient.ts"
import { ErrorResponse, type StacksError } from "../../StacksError.ts"
import type { JobState, ScheduledJob } from "../../StacksSchema.ts"
import { lookUp } from "../sharedStates.ts"
import type { StatePoll } from "../statePoll.ts"
import type { Settings } from "./settings.ts"

/** Why a runner is stopped from outside. */
export type Stop = Data.TaggedEnum<{
  Canceled: { readonly state: JobState }
  Lost: {}
  Shutdown: {}
}>

export const Stop = Data.taggedEnum<Stop>()

/** A job that holds a slot. */
export interface InFlight {
  readonly job: ScheduledJob
  readonly stop: Deferred.Deferred<Stop>
}

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
  readonly notifications: Notifications.Service
  readonly states: StatePoll
  /** For what has to get done, however long the service is away. */
  readonly patient: RetryPolicy.Policy
  readonly emit: (event: StackEvent) => Effect.Effect<void>
  /** Registers the stack again, if it is still the registration that the caller saw. */
  readonly recover: Effect.Effect<void, StacksError>
}

/** Runs a job that is reserved, and sees to its end. */
export const live = (world: World, { job, stop }: InFlight, mayTryAgain: boolean): Effect.Effect<Departure> =>
  Effect.gen(function* () {
    const sinceScheduled = Duration.millis(
      Math.max(0, (yield* Clock.currentTimeMillis) - DateTime.toEpochMillis(job.scheduledAt))
    )
    yield* world.emit(StackEvent.Started({ job, sinceScheduled }))
    const context = yield* makeContext(world, job)
    yield* world.states.join(
      {
        jobUuid: job.id,
        onState: (state) => {
          if (state !== undefined && isOver(state)) Deferred.doneUnsafe(stop, Effect.succeed(Stop.Canceled({ state })))
        },
        onFatal: () => {}
      },
      world.settings.stateInterval
    )
    const end = yield* Effect.raceFirst(Effect.exit(world.runner.run(context)), Deferred.await(stop))
    if (!Exit.isExit(end)) return yield* stopped(world, job, end)
    if (Exit.isSuccess(end)) {
      yield* end.value._tag === "AgentOwned" ? letGo(world, job) : finish(world, job, end.value)
      return Departure.Done()
    }
    const error = Cause.squash(end.cause)
    const message = Predicate.isError(error) ? error.message : String(error)
    if (error instanceof JobRunner.JobRunnerError && error.tryAgain === true && mayTryAgain) {
      return Departure.TryAgain({ message })
    }
    yield* fail(world, job, message === "" ? "The runner failed without a message" : message)
    return Departure.Done()
  }).pipe(
    Effect.scoped,
    Effect.withSpan("Stack.job", {
      attributes: { "stacksapi.job_uuid": job.id, "stacksapi.stack_key": world.settings.key }
    })
  )

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
  { client, notifications, settings: { key: stackKey, reservationExpiry } }: World,
  job: ScheduledJob
): Effect.fn.Return<JobRunner.JobContext> {
  const details = yield* Effect.cached(readAgain(client.getJob({ stackKey, jobUuid: job.id })))
  const acquisitionToken = yield* Effect.cached(
    readAgain(
      client.issueJobAcquisitionTokens({ stackKey, jobUuids: [job.id], tokenLifetime: reservationExpiry })
    ).pipe(
      Effect.flatMap(({ tokens: [issued] }) =>
        issued === undefined
          ? Effect.fail(
              new JobRunner.JobRunnerError({ message: "The service issued no acquisition token: the job is not ours" })
            )
          : Effect.succeed(issued.token)
      )
    )
  )
  return { job, stackKey, details, acquisitionToken, notify: (text) => notifications.notify(job.id, text) }
})

/** An answer that does not decode may have been mangled on its way: what only reads is worth asking for again. */
const readAgain = <A>(effect: Effect.Effect<A, StacksError>): Effect.Effect<A, StacksError> =>
  Effect.retry(effect, {
    schedule: Schedule.spaced("1 second"),
    times: 5,
    while: (error) => error._tag === "DecodeError"
  })

// -----------------------------------------------------------------------------
// Ends
// -----------------------------------------------------------------------------

const stopped = Effect.fnUntraced(function* (world: World, job: ScheduledJob, stop: Stop): Effect.fn.Return<Departure> {
  switch (stop._tag) {
    case "Canceled":
      yield* world.emit(StackEvent.Canceled({ job, state: stop.state }))
      break
    case "Lost":
      yield* world.emit(StackEvent.Lost({ job }))
      break
    case "Shutdown":
      yield* fail(world, job, "The stack shut down before the job had ended")
  }
  return Departure.Done()
})

/** Makes sure that an agent has the job: one that died before it acquired the job leaves it reserved. */
const letGo = Effect.fnUntraced(function* (world: World, job: ScheduledJob): Effect.fn.Return<void> {
  const state = yield* lookUp(world.client, world.settings.key, job.id).pipe(
    RetryPolicy.withPolicy(world.patient),
    // Not knowing is no reason to finish a job that an agent may be running.
    Effect.catch(() => Effect.succeed(undefined))
  )
  if (state === "reserved") return yield* fail(world, job, "The agent ended without acquiring the job")
  yield* world.emit(StackEvent.AgentOwned({ job, state }))
})

const finish = Effect.fnUntraced(function* (
  world: World,
  job: ScheduledJob,
  end: Extract<JobRunner.JobOutcome, { readonly _tag: "Finished" }>
): Effect.fn.Return<void> {
  const { detail, exitStatus, signalReason } = end
  const taken = yield* tell(world, job, { exitStatus, detail: detail === "" ? "finished" : detail, signalReason })
  if (taken) yield* world.emit(StackEvent.Finished({ job, exitStatus, detail }))
})

const fail = Effect.fnUntraced(function* (world: World, job: ScheduledJob, detail: string): Effect.fn.Return<void> {
  const taken = yield* tell(world, job, { exitStatus: -1, detail, signalReason: "stack_error" })
  if (taken) yield* world.emit(StackEvent.Failed({ job, detail }))
})

/** Tells the service how a job ended, until the service takes it; whether it did. */
const tell = (
  world: World,
  job: ScheduledJob,
  end: { readonly exitStatus: number; readonly detail: string; readonly signalReason: string | undefined }
): Effect.Effect<boolean> => {
  const { client, settings } = world
  const request = client
    .finishJob({ stackKey: settings.key, jobUuid: job.id, ...end })
    .pipe(RetryPolicy.withPolicy(world.patient))
  const isGone = (error: StacksError) => error instanceof ErrorResponse && error.reason._tag === "NotFound"
  return request.pipe(
    // The stack may have lapsed: once it is registered again the service knows the job.
    Effect.catchIf(isGone, () => Effect.andThen(world.recover, request)),
    Effect.as(true),
    Effect.catch((error) => Effect.as(world.emit(StackEvent.GivenUp({ job, error })), false))
  )
}
