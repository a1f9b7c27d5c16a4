/**
 * Buildkite's side of the Stacks API, in memory: for tests, for demonstrations, and to try things out without an account.
 *
 * It follows the documented rules of the service: authentication, which jobs are listed and in which order, when reservations
 * lapse, the states of a job, and the status of each error. Its time is Effect's `Clock`, so nothing waits under `TestClock`.
 * {@link Fault}s make it misbehave.
 *
 * It also serves the part of the agents' API that an agent for one job needs: `buildkite-agent` 3.20 or later can run a job
 * against the emulator, with artifacts, meta-data, annotations, secrets, steps and `pipeline upload`. An agent that sends no
 * connect, heartbeat or ping for 3 minutes is lost. The job of an agent that is lost or disconnects too early is finished with
 * status -1 and the signal reason `agent_stop`.
 *
 * **Example** (Registering a stack and listing its jobs)
 *
 * ```ts
 * import * as StacksClient from "@stacksapi/core/StacksClient"
 * import { StacksEmulator } from "@stacksapi/core/testing"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 *
 * const program = Effect.gen(function* () {
 *   const emulator = yield* StacksEmulator.StacksEmulator
 *   yield* emulator.addJobs([{ queueKey: "linux", command: "make test" }])
 *
 *   const client = yield* StacksClient.StacksClient
 *   yield* client.registerStack({ key: "my-stack", type: "custom", queueKey: "linux" })
 *   const { jobs } = yield* client.listScheduledJobs({ stackKey: "my-stack", clusterQueueKey: "linux" })
 *   return jobs.length
 * }).pipe(Effect.provide(StacksEmulator.layerTest()))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpServerError } from "effect/http/HttpServerError"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { advance } from "./internal/emulator/advance.ts"
import * as Artifacts from "./internal/emulator/artifacts.ts"
import type { BrokenConnection } from "./internal/emulator/brokenConnection.ts"
import type { Build } from "./internal/emulator/builds.ts"
import * as CreateJobs from "./internal/emulator/createJobs.ts"
import * as Faults from "./internal/emulator/faults.ts"
import * as InProcess from "./internal/emulator/inProcess.ts"
import * as Jobs from "./internal/emulator/jobs.ts"
import type { JobUpload } from "./internal/emulator/pipelineUploads.ts"
import * as RateLimits from "./internal/emulator/rateLimits.ts"
import { type LoggedRequest, RequestLog } from "./internal/emulator/requestLog.ts"
import * as Retries from "./internal/emulator/retries.ts"
import { basePath } from "./internal/emulator/routes.ts"
import * as SeededRandom from "./internal/emulator/seededRandom.ts"
import * as HttpService from "./internal/emulator/service.ts"
import * as Stacks from "./internal/emulator/stacks.ts"
import * as StartBuild from "./internal/emulator/startBuild.ts"
import * as State from "./internal/emulator/state.ts"
import * as Steps from "./internal/emulator/steps.ts"
import * as Unblock from "./internal/emulator/unblock.ts"
import * as UploadPipeline from "./internal/emulator/uploadPipeline.ts"
import * as Views from "./internal/emulator/views.ts"
import * as Check from "./internal/options.ts"
import * as StacksClient from "./StacksClient.ts"
import type { InvalidOptions } from "./StacksError.ts"
import { DefaultQueue, type RegisteredStack, type TokenIdentity } from "./StacksSchema.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * The agent can't acquire the job: another agent has it, it is over, or the token has expired or is unknown.
 *
 * **Details**
 *
 * A real agent exits with 27. It exits with 1 if its token has expired or is unknown; before version 4.0.3, if it could not
 * register with the token for any reason.
 *
 * @since 0.1.0
 * @category errors
 */
export class AcquireRejected extends Data.TaggedError("AcquireRejected")<{ readonly message: string }> {}

/**
 * An uploaded pipeline can't be used.
 *
 * @since 0.2.0
 * @category errors
 */
export class InvalidPipeline extends Data.TaggedError("InvalidPipeline")<{
  /** Which of the pipelines, from 0. */
  readonly pipeline: number
  /** The part that is wrong, for example `/steps/0/depends_on`; empty for the whole pipeline. */
  readonly path: string
  /** What is wrong, and how to write it. */
  readonly problem: string
}> {
  override get message(): string {
    return `${this.path === "" ? "The pipeline" : this.path}: ${this.problem}`
  }
}

export {
  /**
   * The connection of this request must break. Only {@link Service.httpEffect} fails with it.
   *
   * @since 0.1.0
   * @category errors
   */
  BrokenConnection
} from "./internal/emulator/brokenConnection.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

export type {
  /**
   * A job to add. Only `queueKey` is required. By default, the job is scheduled now, with priority 0, an empty command and
   * environment, no rules, and a build that all such jobs share.
   *
   * @since 0.1.0
   * @category models
   */
  NewJob
} from "./internal/emulator/createJobs.ts"
export {
  /**
   * A fault that the emulator injects.
   *
   * **Details**
   *
   * Kinds:
   * - `Status`: responds with this status, and optionally a `body` (a text, or a value that becomes JSON; a message by default),
   *   `headers` and `retryAfter`. The service does not see the request.
   * - `Html`: responds with a proxy's page and the status 502 or `status`. The service does not see the request.
   * - `Malformed`: replaces the body of the service's response by broken JSON or the `body`, and the status of a success by
   *   `status`. An error keeps its status. The service acts on the request.
   * - `Reset`: the connection breaks before a response. The service does not see the request.
   * - `Stall`: delays the request by `duration`, or forever. Then the service acts on the request.
   * - `Truncate`: sends the head and half of the body, then the connection breaks. The service acts on the request.
   * - `LostResponse`: the service acts on the request, then the connection breaks without a response.
   * - `SlowDown`: adds `Retry-After` to the service's response.
   *
   * A fault applies to requests of `operations`, after the first `skip` of them, at most `times`, and each with the probability
   * `rate`. By default it applies to every request. Operations are those of the Stacks API: only faults without `operations`
   * apply to requests of agents.
   *
   * **Example** (An outage, and an unreliable network)
   *
   * ```ts
   * import { StacksEmulator } from "@stacksapi/core/testing"
   *
   * const { Fault } = StacksEmulator
   *
   * const outage = [Fault.Status({ status: 503, retryAfter: "2 seconds", times: 3 })]
   * const network = [
   *   Fault.Reset({ rate: 0.05 }),
   *   Fault.LostResponse({ operations: ["finishJob"], skip: 1, times: 1 })
   * ]
   * ```
   *
   * @since 0.1.0
   * @category models
   */
  Fault
} from "./internal/emulator/faults.ts"
export type {
  /**
   * A field of a block or input step.
   *
   * @since 0.2.0
   * @category models
   */
  InputField as Field
} from "./internal/emulator/pipeline/inputFields.ts"
export type {
  /**
   * A pipeline that a job has uploaded with `buildkite-agent pipeline upload`, and the notes about it.
   *
   * @since 0.2.0
   * @category models
   */
  JobUpload
} from "./internal/emulator/pipelineUploads.ts"
export type {
  /**
   * An operation of the agents' API.
   *
   * @since 0.1.0
   * @category models
   */
  AgentOperation,
  /**
   * A request of a stack or an agent: operation, method, path, headers without `authorization`, body, time, and the status of
   * the response or the fault that applied.
   *
   * @since 0.1.0
   * @category models
   */
  LoggedRequest
} from "./internal/emulator/requestLog.ts"
export type {
  /**
   * A build to start: pipeline, branch and variables.
   *
   * @since 0.2.0
   * @category models
   */
  NewBuild
} from "./internal/emulator/startBuild.ts"
export type {
  /**
   * A note about an uploaded pipeline: what is left out, held, or ignored, and the path of the part that it is about.
   *
   * @since 0.2.0
   * @category models
   */
  Note
} from "./internal/emulator/uploadPipeline.ts"
export type {
  /**
   * A registered agent: name, tags, state and the job that it runs.
   *
   * @since 0.1.0
   * @category models
   */
  AgentView as Agent,
  /**
   * An annotation of a build or a job: context, style and body.
   *
   * @since 0.2.0
   * @category models
   */
  Annotation,
  /**
   * An artifact of a job: path, size, checksums and state.
   *
   * @since 0.2.0
   * @category models
   */
  Artifact,
  /**
   * A build: its jobs in the order of the pipeline, meta-data, annotations and artifacts.
   *
   * @since 0.2.0
   * @category models
   */
  BuildView as Build,
  /**
   * A job of the emulator, with `state`, `exitStatus`, `detail`, `reservedBy`, `agentId` and times.
   *
   * @since 0.1.0
   * @category models
   */
  JobView as Job,
  /**
   * A notification that the emulator has stored.
   *
   * @since 0.1.0
   * @category models
   */
  NotificationView as Notification,
  /**
   * A queue of the emulator.
   *
   * @since 0.1.0
   * @category models
   */
  QueueView as Queue,
  /**
   * A build that pipelines are uploaded to.
   *
   * @since 0.2.0
   * @category models
   */
  StartedBuild,
  /**
   * A step of an uploaded pipeline.
   *
   * @since 0.2.0
   * @category models
   */
  StepView as Step
} from "./internal/emulator/views.ts"

/**
 * What to add pipelines to.
 *
 * @since 0.2.0
 * @category options
 */
export interface UploadOptions {
  /** The build. Default: a new one. */
  readonly buildUuid?: string | undefined
  /** The queue of jobs whose `agents` name none. Default: the emulator's option `defaultQueueKey`. */
  readonly queueKey?: string | undefined
}

/**
 * The outcome of an upload.
 *
 * @since 0.2.0
 * @category models
 */
export interface Uploaded {
  readonly build: Views.StartedBuild
  readonly steps: ReadonlyArray<Views.StepView>
  readonly jobs: ReadonlyArray<Views.JobView>
  readonly notes: ReadonlyArray<UploadPipeline.Note>
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * Controls the emulated service: does what users, pipelines and agents do, and shows the state.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** The base URL of the API; ends in `/v3/`. In process, its host does not exist. */
  readonly baseUrl: string
  /** The token that it accepts. */
  readonly token: Redacted.Redacted

  /** Adds jobs, and returns them in the same order. An id that exists is a defect; then no job is added. */
  readonly addJobs: (jobs: ReadonlyArray<CreateJobs.NewJob>) => Effect.Effect<ReadonlyArray<Views.JobView>>
  /** Starts a build without steps, for `uploadPipelines`. */
  readonly startBuild: (build?: StartBuild.NewBuild) => Effect.Effect<Views.StartedBuild>
  /**
   * Adds the steps of pipelines to a build, and their jobs: all of them, or none if one is invalid. Each pipeline is a value of JSON, as
   * `buildkite-agent pipeline upload` sends it. Steps may depend on steps of the other pipelines, and of earlier uploads to the build.
   */
  readonly uploadPipelines: (
    pipelines: ReadonlyArray<unknown>,
    options?: UploadOptions
  ) => Effect.Effect<Uploaded, InvalidPipeline>
  /**
   * Lets a step through that waits for a person: a block or input step, or one that is held. It is named by its id, its key or its
   * label. `values` are those of its fields; required fields without a default need one.
   */
  readonly unblock: (step: string, values?: Readonly<Record<string, string>>) => Effect.Effect<Views.StepView>
  /** Runs a job of a pipeline again that has ended, as its step's `retry` allows. Returns the new job. */
  readonly retryJob: (jobUuid: string) => Effect.Effect<Views.JobView>
  /** Cancels a job. It becomes `canceled`, or `canceling` until it completes if an agent owns it. */
  readonly cancelJob: (jobUuid: string) => Effect.Effect<void>
  /** Pauses or resumes the dispatch of a queue. Its jobs stay listed. */
  readonly pauseQueue: (queueKey: string, paused: boolean) => Effect.Effect<void>
  /** Replaces the faults. The first one that applies to a request wins; later ones do not count the request. */
  readonly setFaults: (faults: ReadonlyArray<Faults.Fault>) => Effect.Effect<void>
  /** Adds and removes faults. Those in force that the new list has too, as the same objects, keep what they have counted. */
  readonly changeFaults: (
    update: (inForce: ReadonlyArray<Faults.Fault>) => ReadonlyArray<Faults.Fault>
  ) => Effect.Effect<void>
  /** Removes a stack, as if it had lapsed. Its requests get a 404 until it registers again. */
  readonly forgetStack: (stackKey: string) => Effect.Effect<void>

  /** Acquires a job as an agent, by its acquisition token or its id. The job becomes `running`. */
  readonly acquireJob: (tokenOrJobUuid: string | Redacted.Redacted) => Effect.Effect<Views.JobView, AcquireRejected>
  /** Completes a job as its agent. It becomes `finished`, or `canceled` if it was `canceling`. */
  readonly completeJob: (jobUuid: string, exitStatus?: number) => Effect.Effect<Views.JobView>

  /** All jobs, in the order in which they were added. */
  readonly jobs: Effect.Effect<ReadonlyArray<Views.JobView>>
  /** The steps of uploaded pipelines, in the order in which they were added. */
  readonly steps: Effect.Effect<ReadonlyArray<Views.StepView>>
  /** The pipelines that jobs have uploaded, in their order. Those that were refused are not among them. */
  readonly jobUploads: Effect.Effect<ReadonlyArray<JobUpload>>
  /** The queues that exist, in the order of their creation. */
  readonly queues: Effect.Effect<ReadonlyArray<Views.QueueView>>
  /** The faults in force, without those that have reached `times`. */
  readonly faults: Effect.Effect<ReadonlyArray<Faults.Fault>>
  /** The agents, in the order of their registration. */
  readonly agents: Effect.Effect<ReadonlyArray<Views.AgentView>>
  /**
   * The output that an agent has uploaded for a job, or that was appended, including terminal codes; empty if there is none. It keeps the
   * last 4 MiB of each job, and 128 MiB of all jobs, of which it removes the oldest logs first.
   */
  readonly jobLog: (jobUuid: string) => Effect.Effect<string>
  /** The builds, each with its jobs, meta-data, annotations and artifacts. */
  readonly builds: Effect.Effect<ReadonlyArray<Views.BuildView>>
  /** The content of an artifact, by its id; empty before its upload. The emulator keeps at most 256 MiB of artifacts. */
  readonly artifact: (artifactId: string) => Effect.Effect<Uint8Array>
  /** Appends to the output of a job, for a stack that runs the job without an agent. */
  readonly appendJobLog: (jobUuid: string, text: string) => Effect.Effect<void>
  /** The stored notifications, in the order of their arrival. */
  readonly notifications: Effect.Effect<ReadonlyArray<Views.NotificationView>>
  /** The registered stacks. */
  readonly stacks: Effect.Effect<ReadonlyArray<RegisteredStack>>
  /**
   * The last 10,000 requests, oldest first; fewer if their bodies have more than 64 million characters.
   */
  readonly requests: Effect.Effect<ReadonlyArray<LoggedRequest>>

  /** Responds to the current request. Use it to serve the emulator without this library's server. */
  readonly httpEffect: Effect.Effect<HttpServerResponse, BrokenConnection | HttpServerError, HttpServerRequest>
}

/**
 * The emulated service.
 *
 * @since 0.1.0
 * @category services
 */
export class StacksEmulator extends Context.Service<StacksEmulator, Service>()("@stacksapi/core/StacksEmulator") {}

/**
 * Options of {@link make}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The token that it accepts. Default `bkct_emulator`. */
  readonly token?: Redacted.Redacted | string | undefined
  /** Whether it enforces the documented rate limits, in a sliding second for each stack and scope. Default false. */
  readonly rateLimits?: boolean | undefined
  /** The queues that exist. Default: every queue. */
  readonly queues?: ReadonlyArray<string> | undefined
  /** How many stacks may be registered; more get a 403. Default: any number. */
  readonly maxStacks?: number | undefined
  /** A whole number that decides ids, tokens and the faults with a `rate`. Default 1. */
  readonly seed?: number | undefined
  /**
   * What `getTokenIdentity` returns. An empty `clusterUuid` means that the token belongs to no cluster. Default: a token for all
   * queues of a cluster.
   */
  readonly tokenIdentity?: Partial<TokenIdentity> | undefined
  /** The secrets that jobs can read with `buildkite-agent secret get`, by their keys. Default: none. */
  readonly secrets?: Readonly<Record<string, Redacted.Redacted>> | undefined
  /** The queue of uploaded jobs whose `agents` name none. Default `_default`. */
  readonly defaultQueueKey?: string | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Makes an emulated service.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service, InvalidOptions, Scope.Scope> => emulate(options)

const emulate = Effect.fnUntraced(function* ({
  defaultQueueKey = DefaultQueue,
  maxStacks,
  queues,
  rateLimits = false,
  secrets = {},
  seed = 1,
  tokenIdentity,
  token: accepted = "bkct_emulator"
}: Options) {
  if (maxStacks !== undefined) yield* Check.count("maxStacks", maxStacks, 0)
  yield* Check.integer("seed", seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
  const token = Redacted.isRedacted(accepted) ? accepted : Redacted.make(accepted)
  if (queues?.some((key) => key.trim() === "") === true) {
    return yield* Check.invalid("queues", "must be keys of queues; one is empty")
  }
  if (defaultQueueKey.trim() === "") return yield* Check.invalid("defaultQueueKey", "must be the key of a queue")
  if (Redacted.value(token) === "") return yield* Check.invalid("token", "must not be empty")
  const state = yield* State.make({ queues, maxStacks, secrets, seed, tokenIdentity })
  const faults = Faults.makePlan(yield* SeededRandom.make(`${seed} faults`))
  const log = new RequestLog(Object.values(secrets))
  const limiter = rateLimits ? RateLimits.make() : RateLimits.unlimited
  const view = (job: State.Job) => Views.job(state, job)
  const { httpEffect } = yield* HttpService.make({ state, token, limiter, faults, log, defaultQueueKey })

  /** Acts on the current state. A failure is a mistake of the caller, so it becomes a defect. */
  const now = <A>(act: (now: number) => Result.Result<A, string>): Effect.Effect<A> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      advance(state, now)
      return Result.match(act(now), {
        onFailure: (message) => Effect.die(new Misuse({ message: `StacksEmulator: ${message}` })),
        onSuccess: Effect.succeed
      })
    })
  const onJob = <A>(id: string, act: (job: State.Job, now: number) => Result.Result<A, string>) =>
    now((now) => {
      const job = state.jobs.get(id)
      return job === undefined ? Result.fail(`there is no job ${id}`) : act(job, now)
    })

  const buildOf = ({ buildUuid }: UploadOptions = {}): Result.Result<Build, string> => {
    if (buildUuid === undefined) return Result.succeed(StartBuild.makeBuild(state, {}))
    const build = state.pipelineBuilds.get(buildUuid)
    return build === undefined ? Result.fail(`there is no build ${buildUuid}`) : Result.succeed(build)
  }
  const add = (
    pipelines: ReadonlyArray<unknown>,
    build: Build,
    { queueKey = defaultQueueKey }: UploadOptions = {},
    now: number
  ): Result.Result<Uploaded, InvalidPipeline> =>
    Result.mapBoth(UploadPipeline.upload(state, pipelines, { build, queueKey }, now), {
      onFailure: (problem) => new InvalidPipeline(problem),
      onSuccess: ({ jobs, notes, steps }) => {
        advance(state, now)
        return { build: Views.startedBuild(build), steps: steps.map(Views.step), jobs: jobs.map(view), notes }
      }
    })

  return StacksEmulator.of({
    baseUrl: `http://stacks-emulator.invalid${basePath}/`,
    token,
    addJobs: (jobs) => now((now) => Result.map(CreateJobs.createJobs(state, jobs, now), (added) => added.map(view))),
    startBuild: (build = {}) => now(() => Result.succeed(Views.startedBuild(StartBuild.startBuild(state, build)))),
    uploadPipelines: (pipelines, options) =>
      Effect.flatMap(
        now((now) => Result.map(buildOf(options), (build) => add(pipelines, build, options, now))),
        Effect.fromResult
      ),
    unblock: (step, values = {}) =>
      now((now) =>
        Result.map(Unblock.unblock(state, step, values), (step) => {
          advance(state, now)
          return Views.step(step)
        })
      ),
    retryJob: (id) =>
      onJob(id, (job, now) => {
        const refusal = Retries.refusal(job)
        return refusal === undefined ? Result.succeed(view(Steps.retry(state, job, now))) : Result.fail(refusal)
      }),
    cancelJob: (id) => onJob(id, (job, now) => Result.succeed(Jobs.cancel(state, job, now))),
    pauseQueue: (queueKey, paused) =>
      now(() => {
        const queue = State.findQueue(state, queueKey)
        if (queue === undefined) return Result.fail(`there is no queue ${queueKey}`)
        queue.paused = paused
        return Result.void
      }),
    setFaults: (list) => Effect.sync(() => faults.set(list)),
    changeFaults: (update) => Effect.sync(() => faults.change(update)),
    forgetStack: (key) => Effect.sync(() => void state.stacks.delete(key)),
    acquireJob: (tokenOrJobUuid) =>
      Effect.flatMap(
        now((now) =>
          Result.succeed(
            Jobs.acquire(
              state,
              Redacted.isRedacted(tokenOrJobUuid) ? Redacted.value(tokenOrJobUuid) : tokenOrJobUuid,
              now
            )
          )
        ),
        Result.match({
          onFailure: (message) => Effect.fail(new AcquireRejected({ message })),
          onSuccess: (job) => Effect.succeed(view(job))
        })
      ),
    completeJob: (id, exitStatus = 0) =>
      onJob(id, (job, now) => Result.map(Jobs.complete(state, job, exitStatus, now), view)),
    jobs: now(() => Result.succeed(Array.from(state.jobs.values(), view))),
    steps: now(() => Result.succeed(Array.from(state.pipelineSteps.values(), Views.step))),
    jobUploads: Effect.sync(() => state.jobUploads.slice()),
    queues: Effect.sync(() => Array.from(state.queues.values(), Views.queue)),
    faults: Effect.sync(() => faults.inForce()),
    agents: now(() => Result.succeed(Array.from(state.agents.values(), Views.agent))),
    jobLog: (id) => onJob(id, () => Result.succeed(state.logs.text(id))),
    builds: now(() => Result.succeed(Array.from(state.builds.values(), Views.build))),
    artifact: (id) =>
      now(() => {
        const artifact = Artifacts.find(state, id)
        return artifact === undefined
          ? Result.fail(`there is no artifact ${id}`)
          : Result.succeed(Artifacts.content(artifact))
      }),
    appendJobLog: (id, text) =>
      onJob(id, () =>
        Result.succeed(state.logs.add(id, { offset: state.logs.size(id), bytes: new TextEncoder().encode(text) }))
      ),
    notifications: Effect.sync(() => state.notifications.map(Views.notification)),
    stacks: now((now) =>
      Result.succeed(Array.from(state.stacks.values(), (stack) => Stacks.describe(state, stack, now)))
    ),
    requests: Effect.sync(() => log.requests),
    httpEffect
  })
})

/** A defect: a mistake in a test. */
class Misuse extends Data.TaggedError("StacksEmulatorMisuse")<{ readonly message: string }> {}

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * The emulated service in memory. {@link layerClient} and {@link layerHttpClient} connect to it.
 *
 * @see {@link layerTest} for the emulator and a client in one layer
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<StacksEmulator, InvalidOptions> =>
  Layer.effect(StacksEmulator, make(options))

/**
 * An `HttpClient` that sends all requests to the emulator, in process, whatever their host. Its time is the caller's `Clock`.
 * Requests can be interrupted like any others.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHttpClient: Layer.Layer<HttpClient.HttpClient, never, StacksEmulator> = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(StacksEmulator, (emulator) => InProcess.make(emulator.httpEffect))
)

/**
 * A `StacksClient` that calls the emulator in process, with its token.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient: Layer.Layer<StacksClient.StacksClient, never, StacksEmulator> = Layer.unwrap(
  Effect.map(StacksEmulator, ({ baseUrl, token }) => StacksClient.layer({ baseUrl, token }))
).pipe(Layer.provide(layerHttpClient))

/**
 * The emulated service, and a `StacksClient` that calls it in process. This is what most tests need.
 *
 * **Example** (A test's layer)
 *
 * ```ts
 * import * as StacksClient from "@stacksapi/core/StacksClient"
 * import { StacksEmulator } from "@stacksapi/core/testing"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const emulator = yield* StacksEmulator.StacksEmulator
 *   const client = yield* StacksClient.StacksClient
 *   yield* emulator.addJobs([{ queueKey: "_default" }])
 *   return yield* client.registerStack({ key: "my-stack", type: "custom", queueKey: "_default" })
 * }).pipe(Effect.provide(StacksEmulator.layerTest()))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (options?: Options): Layer.Layer<StacksEmulator | StacksClient.StacksClient, InvalidOptions> =>
  Layer.provideMerge(layerClient, layer(options))
