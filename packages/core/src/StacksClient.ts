/**
 * The client: one Effect for every endpoint of the Stacks API.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import type * as Types from "effect/Types"
import { endpoints } from "./internal/client/endpoint.ts"
import { settings } from "./internal/client/environment.ts"
import { CurrentRecorder, emptyRecorder } from "./internal/client/recorder.ts"
import * as Transport from "./internal/client/transport.ts"
import { version } from "./internal/client/version.ts"
import { type RateLimitStatus, rateLimitStatus } from "./internal/responseHeaders.ts"
import { cropBytes, oneLine } from "./internal/schema/text.ts"
import * as RateLimit from "./RateLimit.ts"
import * as RetryPolicy from "./RetryPolicy.ts"
import type { Endpoint, Operation, Request, Success } from "./StacksApi.ts"
import * as StacksError from "./StacksError.ts"
import * as StacksSchema from "./StacksSchema.ts"

/**
 * Buildkite's own service: `https://agent.buildkite.com/v3/`.
 *
 * @since 0.1.0
 * @category constants
 */
export const DefaultBaseUrl = "https://agent.buildkite.com/v3/"

// -----------------------------------------------------------------------------
// Requests
// -----------------------------------------------------------------------------

/**
 * What `registerStack` takes: `{ key, type, queueKey, metadata? }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type RegisterStackRequest = Request<"registerStack">

/**
 * What `deregisterStack` takes: `{ stackKey }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type DeregisterStackRequest = Request<"deregisterStack">

/**
 * What `listScheduledJobs` takes: `{ stackKey, clusterQueueKey, pageSize?, startCursor? }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type ListScheduledJobsRequest = Request<"listScheduledJobs">

/**
 * What `batchReserveJobs` takes: `{ stackKey, jobUuids, reservationExpiry? }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type BatchReserveJobsRequest = Request<"batchReserveJobs">

/**
 * What `getJob` takes: `{ stackKey, jobUuid }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type GetJobRequest = Request<"getJob">

/**
 * What `getJobStates` takes: `{ stackKey, jobUuids }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type GetJobStatesRequest = Request<"getJobStates">

/**
 * What `finishJob` takes: `{ stackKey, jobUuid, exitStatus?, detail, signalReason? }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type FinishJobRequest = Request<"finishJob">

/**
 * What `failJob` takes: `{ stackKey, jobUuid, exitStatus?, detail, signalReason? }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type FailJobRequest = Request<"finishJob">

/**
 * What `createStackNotifications` takes: `{ stackKey, notifications: [{ jobUuid, detail, timestamp? }] }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type CreateStackNotificationsRequest = Request<"createStackNotifications">

/**
 * What `createStackNotification` takes: `{ stackKey, jobUuid, detail, timestamp? }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type CreateStackNotificationRequest = Types.Simplify<
  { readonly stackKey: string } & StacksSchema.StackNotification
>

/**
 * What `issueJobAcquisitionTokens` takes: `{ stackKey, jobUuids, tokenLifetime? }`.
 *
 * @since 0.1.0
 * @category requests
 */
export type IssueJobAcquisitionTokensRequest = Request<"issueJobAcquisitionTokens">

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The Stacks API. Every method fails with a {@link StacksError.StacksError}, and is tried again as the
 * {@link RetryPolicy.RetryPolicy} in force says. What the service would refuse fails with `InvalidRequest` and sends nothing.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * The organization, the cluster and the queue of the client's token. Needs no registered stack. An empty `clusterUuid` means
   * that the token belongs to no cluster: stacks do not work with it.
   */
  readonly getTokenIdentity: () => Effect.Effect<StacksSchema.TokenIdentity, StacksError.StacksError>

  /**
   * Registers a stack for a queue. Safe to repeat; with another queue it *moves* the stack. 403 where the organization has
   * too many active stacks.
   */
  readonly registerStack: (
    request: RegisterStackRequest
  ) => Effect.Effect<StacksSchema.RegisteredStack, StacksError.StacksError>

  /**
   * Tells the service that the stack leaves cleanly. Where a response was lost and the next attempt finds no stack, it
   * succeeds.
   */
  readonly deregisterStack: (request: DeregisterStackRequest) => Effect.Effect<void, StacksError.StacksError>

  /**
   * One page of a queue's scheduled jobs, the oldest first; at most 1000. Not a snapshot: the last page is no proof that all
   * was seen. See `ScheduledJobs` for all pages as a stream. Polling keeps the queue connected.
   */
  readonly listScheduledJobs: (
    request: ListScheduledJobsRequest
  ) => Effect.Effect<StacksSchema.ScheduledJobsPage, StacksError.StacksError>

  /**
   * Reserves 1 to 1000 jobs, or extends reservations of this stack. Succeeds also where no job could be reserved. A
   * reservation lapses after `reservationExpiry` (at most 1 hour; the service's default is 15 minutes): there is no un-reserve.
   */
  readonly batchReserveJobs: (
    request: BatchReserveJobsRequest
  ) => Effect.Effect<StacksSchema.BatchReserveJobsResult, StacksError.StacksError>

  /** A job's environment and command. Can exceed 100 KB. */
  readonly getJob: (request: GetJobRequest) => Effect.Effect<StacksSchema.JobDetails, StacksError.StacksError>

  /** The states of up to 1000 jobs by id; ids that the service does not know are missing. */
  readonly getJobStates: (
    request: GetJobStatesRequest
  ) => Effect.Effect<StacksSchema.JobStatesResult, StacksError.StacksError>

  /**
   * Finishes a job that the stack can't or won't run, or that it completed without an agent. At most once per job.
   *
   * The exit status 0 is sent as it is; where it is left out, the service takes -1. A `detail` of more than 4096 bytes is
   * cropped, with a mark and a warning in the log. After a failure that leaves open whether the service acted (a lost
   * response, a 5xx), the job's state is asked for first, and the request is only sent again where the job is not finished.
   */
  readonly finishJob: (request: FinishJobRequest) => Effect.Effect<void, StacksError.StacksError>

  /** `finishJob` with a failing status: -1 unless given. */
  readonly failJob: (request: FailJobRequest) => Effect.Effect<void, StacksError.StacksError>

  /**
   * Adds 1 to 1000 notifications to jobs, at most 100 for each. The valid ones are stored, the others are reported in
   * `errors` with their positions. A `detail` of more than 256 characters is cropped. Where a response was lost, the next
   * attempt adds them a second time: the API has no key against it.
   */
  readonly createStackNotifications: (
    request: CreateStackNotificationsRequest
  ) => Effect.Effect<StacksSchema.CreateStackNotificationsResult, StacksError.StacksError>

  /** One notification; where the service does not store it, fails with `NotificationRejected`. */
  readonly createStackNotification: (
    request: CreateStackNotificationRequest
  ) => Effect.Effect<void, StacksError.StacksError | StacksError.NotificationRejected>

  /**
   * One acquisition token for each of 1 to 1000 jobs that this stack has reserved. Ask right before the start. Never log or
   * store a token, never start a job in `notIssued`.
   */
  readonly issueJobAcquisitionTokens: (
    request: IssueJobAcquisitionTokensRequest
  ) => Effect.Effect<StacksSchema.IssueJobAcquisitionTokensResult, StacksError.StacksError>
}

/**
 * The Stacks API as a service.
 *
 * **Example** (A first call)
 *
 * ```ts
 * import * as StacksClient from "@stacksapi/core/StacksClient"
 * import * as Effect from "effect/Effect"
 * import * as FetchHttpClient from "effect/http/FetchHttpClient"
 * import * as Layer from "effect/Layer"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* StacksClient.StacksClient
 *   return yield* client.registerStack({ key: "my-stack", type: "custom", queueKey: "default" })
 * })
 *
 * // The token comes from BUILDKITE_CLUSTER_TOKEN.
 * Effect.runPromise(
 *   program.pipe(Effect.provide(Layer.provide(StacksClient.layerConfig, FetchHttpClient.layer)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class StacksClient extends Context.Service<StacksClient, Service>()("@stacksapi/core/StacksClient") {}

/**
 * How a client is set up.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A cluster token (`bkct_…`). REST and GraphQL tokens do not work. */
  readonly token: Redacted.Redacted
  /** Where the API is; a path in it is kept. Default {@link DefaultBaseUrl}. */
  readonly baseUrl?: string | URL | undefined
  /** Goes before this library's name in the `User-Agent`, for example `my-stack/1.2`. */
  readonly userAgentPrefix?: string | undefined
  /** How long one attempt may take, reading the response included. Default 60 seconds. */
  readonly timeout?: Duration.Input | undefined
  /**
   * Whether debug log lines carry request and response bodies. Default false. Tokens are left out, but a job's environment
   * may hold secrets of its users.
   */
  readonly logPayloads?: boolean | undefined
}

/**
 * Makes a client over the `HttpClient` in the context. A {@link RetryPolicy.RetryPolicy} or {@link RateLimit.RateLimit} that
 * is in the context too is used by every call that does not see one of its own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Service, never, HttpClient.HttpClient> {
  const context = yield* Effect.context<HttpClient.HttpClient>()
  const transport = Transport.make({
    httpClient: Context.get(context, HttpClient.HttpClient),
    token: options.token,
    baseUrl: String(options.baseUrl ?? DefaultBaseUrl),
    userAgent: `${options.userAgentPrefix === undefined ? "" : `${options.userAgentPrefix} `}stacksapi-effect/${version}`,
    timeout: Duration.fromInputUnsafe(options.timeout ?? "60 seconds"),
    logPayloads: options.logPayloads ?? false,
    retryPolicy: Context.getOrUndefined(context, RetryPolicy.RetryPolicy),
    rateLimit: Context.getOrUndefined(context, RateLimit.RateLimit)
  })

  const isFinished = ({ jobUuid, stackKey }: GetJobRequest, onAside: () => void) =>
    transport
      .call(endpoints.getJobStates, { stackKey, jobUuids: [jobUuid] }, { operation: "getJobStates", stackKey, onAside })
      .pipe(
        Effect.map(({ states }) => states[jobUuid] === "finished"),
        RetryPolicy.withPolicy(RetryPolicy.none)
      )

  const finish = (operation: Operation, request: FinishJobRequest): Effect.Effect<void, StacksError.StacksError> => {
    const finished = transport.call(endpoints.finishJob, request, {
      operation,
      stackKey: request.stackKey,
      tookEffect: (onAside) => isFinished(request, onAside)
    })
    return isCropped(request.detail)
      ? Effect.andThen(
          Effect.logWarning(`The detail was cropped to ${StacksSchema.MaxFinishDetailBytes} bytes`).pipe(
            Effect.annotateLogs({ operation, job_uuid: request.jobUuid })
          ),
          finished
        )
      : finished
  }

  const notify = (operation: Operation, request: CreateStackNotificationsRequest) =>
    transport.call(endpoints.createStackNotifications, request, { operation, stackKey: request.stackKey })

  /** A method that is its endpoint and no more. */
  const plain =
    <E extends Exclude<Endpoint, "getTokenIdentity" | "registerStack">>(operation: E) =>
    (request: Request<E> & { readonly stackKey: string }) =>
      transport.call<Request<E>, Success<E>>(endpoints[operation], request, { operation, stackKey: request.stackKey })

  const client: Service = {
    getTokenIdentity: () =>
      transport.call(endpoints.getTokenIdentity, {}, { operation: "getTokenIdentity", stackKey: "" }),

    registerStack: (request) =>
      transport.call(endpoints.registerStack, request, { operation: "registerStack", stackKey: request.key }),

    deregisterStack: (request) =>
      transport.call(endpoints.deregisterStack, request, {
        operation: "deregisterStack",
        stackKey: request.stackKey,
        isDoneWhenGone: true
      }),

    listScheduledJobs: plain("listScheduledJobs"),

    batchReserveJobs: plain("batchReserveJobs"),

    getJob: plain("getJob"),

    getJobStates: plain("getJobStates"),

    finishJob: (request) => finish("finishJob", request),

    failJob: (request) => finish("failJob", { ...request, exitStatus: request.exitStatus ?? -1 }),

    createStackNotifications: (request) => notify("createStackNotifications", request),

    createStackNotification: ({ stackKey, ...notification }) =>
      Effect.flatMap(
        notify("createStackNotification", { stackKey, notifications: [notification] }),
        ({ errors: [rejected] }) =>
          rejected === undefined
            ? Effect.void
            : Effect.fail(
                new StacksError.NotificationRejected({
                  jobUuid: notification.jobUuid,
                  error: oneLine(rejected.error)
                })
              )
      ),

    issueJobAcquisitionTokens: plain("issueJobAcquisitionTokens")
  }
  return client
})

const isCropped = (detail: string) =>
  Predicate.isString(detail) && cropBytes(detail, StacksSchema.MaxFinishDetailBytes) !== detail.toWellFormed()

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * A client over the `HttpClient` in the context.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<StacksClient, never, HttpClient.HttpClient> =>
  Layer.effect(StacksClient, make(options))

/**
 * Like {@link layerConfig}, with more options.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfigWith = (
  options: Omit<Options, "token" | "baseUrl">
): Layer.Layer<StacksClient, Config.ConfigError, HttpClient.HttpClient> =>
  Layer.effect(
    StacksClient,
    Effect.flatMap(settings, (config) => make({ ...options, ...config }))
  )

/**
 * A client set up from the configuration, by default the environment: the token from `BUILDKITE_CLUSTER_TOKEN`, else from
 * `BUILDKITE_AGENT_TOKEN`; the base URL from `BUILDKITE_AGENT_ENDPOINT`, else {@link DefaultBaseUrl}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: Layer.Layer<StacksClient, Config.ConfigError, HttpClient.HttpClient> = layerConfigWith({})

// -----------------------------------------------------------------------------
// Responses
// -----------------------------------------------------------------------------

/**
 * A value together with what came with it.
 *
 * @since 0.1.0
 * @category models
 */
export interface WithResponse<out A> {
  readonly value: A
  /** The headers of the last response that a call got. */
  readonly headers: Headers.Headers
  /** The status of that response; 0 where there was none. */
  readonly status: number
  /** What that response says of the rate limit. */
  readonly rateLimit: RateLimitStatus
  /** How many attempts the last call took. */
  readonly attempts: number
}

/**
 * Gives, beside an effect's value, the headers, status and rate limit of the last response that a call in it got.
 *
 * **Example** (Reading the rate limit)
 *
 * ```ts
 * import * as StacksClient from "@stacksapi/core/StacksClient"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* StacksClient.StacksClient
 *   const { rateLimit, value } = yield* StacksClient.withResponse(
 *     client.getJobStates({ stackKey: "my-stack", jobUuids: ["0193b1a6-…"] })
 *   )
 *   return { states: value.states, requestsLeft: rateLimit.remaining }
 * })
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const withResponse = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<WithResponse<A>, E, R> =>
  Effect.flatMap(CurrentRecorder, (outer) => {
    const recorder = emptyRecorder()
    return Effect.map(Effect.provideService(effect, CurrentRecorder, recorder), (value) => {
      if (outer !== undefined) Object.assign(outer, recorder)
      const { attempts, headers, status } = recorder
      return { value, headers, status, rateLimit: rateLimitStatus(headers), attempts }
    })
  })
