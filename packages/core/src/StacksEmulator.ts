/**
 * Buildkite's side of the Stacks API, in memory: for tests, demonstrations, and trying things out without an account.
 *
 * It follows the documented rules of the service: who may call, what is listed and in which order, how reservations lapse,
 * which states a job goes through, what is refused and with which status. All of its time is Effect's `Clock`, so that under
 * `TestClock` nothing waits. It can also misbehave, with {@link Fault}s.
 *
 * Agents find their own API there as well, as far as an agent that acquires one job needs it: a real `buildkite-agent` of
 * version 3.20 or later can run a job against the emulator. Artifacts, secrets and `pipeline upload` are not there. An agent
 * without a sign of life (connect, heartbeat or ping) for 3 minutes is lost; its job, and that of an agent which disconnects
 * too early, is finished with status -1 and the signal reason `agent_stop`.
 *
 * **Example** (A stack's first minutes)
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
 * }).pipe(Effect.provide(StacksEmulator.layerClient.pipe(Layer.provideMerge(StacksEmulator.layer()))))
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
import type { BrokenConnection } from "./internal/emulator/brokenConnection.ts"
import * as Dice from "./internal/emulator/dice.ts"
import * as Faults from "./internal/emulator/faults.ts"
import * as InProcess from "./internal/emulator/inProcess.ts"
import * as Intake from "./internal/emulator/intake.ts"
import * as Jobs from "./internal/emulator/jobs.ts"
import * as RateLimits from "./internal/emulator/rateLimits.ts"
import { type LoggedRequest, RequestLog } from "./internal/emulator/requestLog.ts"
import { basePath } from "./internal/emulator/routes.ts"
import * as HttpService from "./internal/emulator/service.ts"
import { settle } from "./internal/emulator/settle.ts"
import * as Stacks from "./internal/emulator/stacks.ts"
import * as State from "./internal/emulator/state.ts"
import * as Views from "./internal/emulator/views.ts"
import * as Check from "./internal/options.ts"
import * as StacksClient from "./StacksClient.ts"
import type { InvalidOptions } from "./StacksError.ts"
import type { RegisteredStack, TokenIdentity } from "./StacksSchema.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

export {
  /**
   * Something that goes wrong on purpose.
   *
   * **Details**
   *
   * Kinds:
   * - `Status`: this status, with a `body` (a text, or a value that becomes JSON; a message by default), `headers` and
   *   `retryAfter`. The service does not see the request.
   * - `Html`: a proxy's page instead of the service's answer; status 502 by default. The service does not see the request.
   * - `Malformed`: the service's answer, whose body is broken JSON or the `body`. A success gets the `status`, if one is given;
   *   a refusal stays one. The service has acted on the request.
   * - `Reset`: the connection breaks before an answer. The service does not see the request.
   * - `Stall`: no answer for the `duration`, and for ever without one. Then the service acts on the request.
   * - `Truncate`: the head and half of the body, then the connection breaks. The service has acted on the request.
   * - `LostResponse`: the service has acted on the request, then the connection breaks without an answer.
   * - `SlowDown`: the service's answer, with `Retry-After`.
   *
   * Which requests it happens to: those of `operations`, after the first `skip` of them, at most `times`, and each with the
   * probability `rate`. All of these may be left out: then it happens to every request. Operations are those of the Stacks
   * API: requests of agents only meet faults that name none.
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
   * @category faults
   */
  Fault
} from "./internal/emulator/faults.ts"
export type {
  /**
   * A job to add. Everything but `queueKey` has a default: the job is scheduled now, at priority 0, with an empty command
   * and environment, no rules, and as part of one build that all such jobs share.
   *
   * @since 0.1.0
   * @category models
   */
  NewJob
} from "./internal/emulator/intake.ts"
export type {
  /**
   * What an agent asked for over the agents' own API.
   *
   * @since 0.1.0
   * @category models
   */
  AgentOperation,
  /**
   * A request that arrived, of a stack or an agent: operation, method, path, headers without `authorization`, body, time,
   * and the status that was answered or the fault that it met.
   *
   * @since 0.1.0
   * @category models
   */
  LoggedRequest
} from "./internal/emulator/requestLog.ts"
export type {
  /**
   * An agent that registered: name, tags, state and the job that it has.
   *
   * @since 0.1.0
   * @category models
   */
  AgentView as Agent,
  /**
   * A job of the emulator, with what became of it: `state`, `exitStatus`, `detail`, `reservedBy`, `agentId` and times.
   *
   * @since 0.1.0
   * @category models
   */
  JobView as Job,
  /**
   * A notification that a stack made and the emulator stored.
   *
   * @since 0.1.0
   * @category models
   */
  NotificationView as Notification,
  /**
   * A queue of the emulator, with whether it is paused.
   *
   * @since 0.1.0
   * @category models
   */
  QueueView as Queue
} from "./internal/emulator/views.ts"

/**
 * The agent is not given the job: it is taken or over, its token has expired or is unknown. A real agent exits with 27, but
 * with 1 where its token has expired or is unknown, and before version 4.0.3 wherever it could not register with the token.
 *
 * @since 0.1.0
 * @category errors
 */
export class AcquireRejected extends Data.TaggedError("AcquireRejected")<{ readonly message: string }> {}

export {
  /**
   * The answer to a request whose connection has to break. Only those who serve the emulator themselves, by
   * {@link Service.httpEffect}, meet it.
   *
   * @since 0.1.0
   * @category errors
   */
  BrokenConnection
} from "./internal/emulator/brokenConnection.ts"

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The emulated service, from behind: what people, pipelines and agents do to it, and what it remembers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** Where it serves the API; ends in `/v3/`. In process, a host that does not exist. */
  readonly baseUrl: string
  /** The token that it accepts. */
  readonly token: Redacted.Redacted

  /** Adds jobs, and returns them in the same order. An id that exists already is a defect, and then none is added. */
  readonly addJobs: (jobs: ReadonlyArray<Intake.NewJob>) => Effect.Effect<ReadonlyArray<Views.JobView>>
  /** Cancels a job: a scheduled or reserved one is `canceled`, one that an agent owns is `canceling` until it completes. */
  readonly cancelJob: (jobUuid: string) => Effect.Effect<void>
  /** Pauses a queue's dispatch, or resumes it. Its jobs stay listed. */
  readonly pauseQueue: (queueKey: string, paused: boolean) => Effect.Effect<void>
  /** Replaces the faults. For each request the first one that strikes counts, and those behind it do not see the request. */
  readonly setFaults: (faults: ReadonlyArray<Faults.Fault>) => Effect.Effect<void>
  /** Forgets a stack, as when it has lapsed: its key answers 404 until it registers again. */
  readonly forgetStack: (stackKey: string) => Effect.Effect<void>

  /** Somebody plays an agent, and acquires a job by its acquisition token or by its id: the job is `running`. */
  readonly acquireJob: (tokenOrJobUuid: string | Redacted.Redacted) => Effect.Effect<Views.JobView, AcquireRejected>
  /** The agent that runs a job reports its end: `finished`, or `canceled` if it was `canceling`. */
  readonly completeJob: (jobUuid: string, exitStatus?: number) => Effect.Effect<Views.JobView>

  /** All jobs, in the order in which they were added. */
  readonly jobs: Effect.Effect<ReadonlyArray<Views.JobView>>
  /** The queues that exist, in the order in which they came to. */
  readonly queues: Effect.Effect<ReadonlyArray<Views.QueueView>>
  /** The faults in force: those that were set, without those that have struck as often as they were to. */
  readonly faults: Effect.Effect<ReadonlyArray<Faults.Fault>>
  /** The agents that registered over the agents' own API, in that order. */
  readonly agents: Effect.Effect<ReadonlyArray<Views.AgentView>>
  /**
   * What an agent has uploaded of a job's output, with the codes for terminals in it: the last 4 MiB of each job, of all
   * jobs together 128 MiB, beyond which the oldest logs are forgotten. Empty where there is none.
   */
  readonly jobLog: (jobUuid: string) => Effect.Effect<string>
  /** The notifications that were stored, in the order in which they arrived. */
  readonly notifications: Effect.Effect<ReadonlyArray<Views.NotificationView>>
  /** The registered stacks. */
  readonly stacks: Effect.Effect<ReadonlyArray<RegisteredStack>>
  /**
   * The requests that arrived, oldest first: the last 10,000 of them, fewer where their bodies hold more than 64 million
   * characters.
   */
  readonly requests: Effect.Effect<ReadonlyArray<LoggedRequest>>

  /** Answers the current request: for serving the emulator by other means than this library's. */
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
 * How the emulated service is set up.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The token that it accepts. Default `bkct_emulator`. */
  readonly token?: Redacted.Redacted | string | undefined
  /** Whether it enforces the documented rate limits: one-second sliding windows for each stack and scope. Default false. */
  readonly rateLimits?: boolean | undefined
  /** The queues that exist; others are not found. Default: every queue exists. */
  readonly queues?: ReadonlyArray<string> | undefined
  /** How many stacks may be registered at once; more are refused with 403. Default: any number. */
  readonly maxStacks?: number | undefined
  /** A whole number that decides all ids, tokens and the dice of faults. Default: always the same. */
  readonly seed?: number | undefined
  /**
   * What `getTokenIdentity` answers. An empty `clusterUuid` makes it a token of no cluster. Default: a token of one cluster, for
   * all of its queues.
   */
  readonly tokenIdentity?: Partial<TokenIdentity> | undefined
}

/**
 * Makes an emulated service.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service, InvalidOptions, Scope.Scope> => emulate(options)

const emulate = Effect.fnUntraced(function* ({
  maxStacks,
  queues,
  rateLimits = false,
  seed = 1,
  tokenIdentity,
  token: accepted = "bkct_emulator"
}: Options) {
  if (maxStacks !== undefined) yield* Check.count("maxStacks", maxStacks, 0)
  yield* Check.integer("seed", seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
  const token = Redacted.isRedacted(accepted) ? accepted : Redacted.make(accepted)
  if (Redacted.value(token) === "") return yield* Check.invalid("token", "must not be empty")
  const state = State.make({ queues, maxStacks, seed, tokenIdentity })
  const faults = Faults.makePlan(Dice.make(seed))
  const log = new RequestLog()
  const limiter = rateLimits ? RateLimits.make() : RateLimits.unlimited
  const view = (job: State.Job) => Views.job(state, job)
  const { httpEffect } = yield* HttpService.make({ state, token, limiter, faults, log })

  /** Does something to the state as it is now; a `Result.fail` is a mistake of the caller's, hence a defect. */
  const now = <A>(act: (now: number) => Result.Result<A, string>): Effect.Effect<A> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      settle(state, now)
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

  return StacksEmulator.of({
    baseUrl: `http://stacks-emulator.invalid${basePath}/`,
    token,
    addJobs: (jobs) => now((now) => Result.map(Intake.add(state, jobs, now), (added) => added.map(view))),
    cancelJob: (id) => onJob(id, (job, now) => Result.succeed(Jobs.cancel(state, job, now))),
    pauseQueue: (queueKey, paused) =>
      now(() => {
        const queue = State.findQueue(state, queueKey)
        if (queue === undefined) return Result.fail(`there is no queue ${queueKey}`)
        queue.paused = paused
        return Result.void
      }),
    setFaults: (list) => Effect.sync(() => faults.set(list)),
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
    completeJob: (id, exitStatus = 0) => onJob(id, (job, now) => Result.map(Jobs.complete(job, exitStatus, now), view)),
    jobs: now(() => Result.succeed(Array.from(state.jobs.values(), view))),
    queues: Effect.sync(() => Array.from(state.queues.values(), Views.queue)),
    faults: Effect.sync(() => faults.inForce()),
    agents: now(() => Result.succeed(Array.from(state.agents.values(), Views.agent))),
    jobLog: (id) => onJob(id, () => Result.succeed(state.logs.text(id))),
    notifications: Effect.sync(() => state.notifications.map(Views.notification)),
    stacks: now((now) =>
      Result.succeed(Array.from(state.stacks.values(), (stack) => Stacks.describe(state, stack, now)))
    ),
    requests: Effect.sync(() => log.requests),
    httpEffect
  })
})

/** A test that asks for what can't be: nothing to recover from. */
class Misuse extends Data.TaggedError("StacksEmulatorMisuse")<{ readonly message: string }> {}

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * The emulated service in memory. {@link layerClient} and {@link layerHttpClient} connect to it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<StacksEmulator, InvalidOptions> =>
  Layer.effect(StacksEmulator, make(options))

/**
 * An `HttpClient` all of whose requests the emulator answers, in process: whatever their host, without sockets, on the
 * caller's `Clock`. Interrupting a request works as with any other.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHttpClient: Layer.Layer<HttpClient.HttpClient, never, StacksEmulator> = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(StacksEmulator, (emulator) => InProcess.make(emulator.httpEffect))
)

/**
 * A `StacksClient` of the emulator, in process, with its token.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient: Layer.Layer<StacksClient.StacksClient, never, StacksEmulator> = Layer.unwrap(
  Effect.map(StacksEmulator, ({ baseUrl, token }) => StacksClient.layer({ baseUrl, token }))
).pipe(Layer.provide(layerHttpClient))

/**
 * The emulated service and a `StacksClient` of it, in process: what a test needs.
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
 *   yield* emulator.addJobs([{ queueKey: "default" }])
 *   return yield* client.registerStack({ key: "my-stack", type: "custom", queueKey: "default" })
 * }).pipe(Effect.provide(StacksEmulator.layerTest()))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTest = (options?: Options): Layer.Layer<StacksEmulator | StacksClient.StacksClient, InvalidOptions> =>
  Layer.provideMerge(layerClient, layer(options))
