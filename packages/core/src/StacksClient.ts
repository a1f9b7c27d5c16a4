/**
 * The client: an effect for every endpoint of the Stacks API.
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
import { optionsFrom } from "./internal/client/environment.ts"
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

// -----------------------------------------------------------------------------
// Constants
// -----------------------------------------------------------------------------

/**
 * The base URL of Buildkite's service: `https://agent.buildkite.com/v3/`.
 *
 * @since 0.1.0
 * @category constants
 */
export const DefaultBaseUrl = "https://agent.buildkite.com/v3/"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The request of `registerStack`: `{ key, type, queueKey, metadata? }`.
 *
 * @since 0.1.0
 * @category models
 */
export type RegisterStackRequest = Request<"registerStack">

/**
 * The request of `deregisterStack`: `{ stackKey }`.
 *
 * @since 0.1.0
 * @category models
 */
export type DeregisterStackRequest = Request<"deregisterStack">

/**
 * The request of `listScheduledJobs`: `{ stackKey, clusterQueueKey, pageSize?, startCursor? }`.
 *
 * @since 0.1.0
 * @category models
 */
export type ListScheduledJobsRequest = Request<"listScheduledJobs">

/**
 * The request of `batchReserveJobs`: `{ stackKey, jobUuids, reservationExpiry? }`.
 *
 * @since 0.1.0
 * @category models
 */
export type BatchReserveJobsRequest = Request<"batchReserveJobs">

/**
 * The request of `getJob`: `{ stackKey, jobUuid }`.
 *
 * @since 0.1.0
 * @category models
 */
export type GetJobRequest = Request<"getJob">

/**
 * The request of `getJobStates`: `{ stackKey, jobUuids }`.
 *
 * @since 0.1.0
 * @category models
 */
export type GetJobStatesRequest = Request<"getJobStates">

/**
 * The request of `finishJob`: `{ stackKey, jobUuid, exitStatus?, detail, signalReason? }`.
 *
 * @since 0.1.0
 * @category models
 */
export type FinishJobRequest = Request<"finishJob">

/**
 * The request of `failJob`: `{ stackKey, jobUuid, exitStatus?, detail, signalReason? }`.
 *
 * @since 0.1.0
 * @category models
 */
export type FailJobRequest = Request<"finishJob">

/**
 * The request of `createStackNotifications`: `{ stackKey, notifications: [{ jobUuid, detail, timestamp? }] }`.
 *
 * @since 0.1.0
 * @category models
 */
export type CreateStackNotificationsRequest = Request<"createStackNotifications">

/**
 * The request of `createStackNotification`: `{ stackKey, jobUuid, detail, timestamp? }`.
 *
 * @since 0.1.0
 * @category models
 */
export type CreateStackNotificationRequest = Types.Simplify<
  { readonly stackKey: string } & StacksSchema.StackNotification
>

/**
 * The request of `issueJobAcquisitionTokens`: `{ stackKey, jobUuids, tokenLifetime? }`.
 *
 * @since 0.1.0
 * @category models
 */
export type IssueJobAcquisitionTokensRequest = Request<"issueJobAcquisitionTokens">

/**
 * A value with the response that it came from.
 *
 * @since 0.1.0
 * @category models
 */
export interface WithResponse<out A> {
  readonly value: A
  /** The headers of the last response. */
  readonly headers: Headers.Headers
  /** The status of that response; 0 if there was none. */
  readonly status: number
  /** The rate limit that the response reports. */
  readonly rateLimit: RateLimitStatus
  /** The number of attempts of the last call. */
  readonly attempts: number
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The Stacks API.
 *
 * **Details**
 *
 * Methods fail with {@link StacksError.StacksError}, and are retried by the {@link RetryPolicy.RetryPolicy} in force. A request that
 * breaks a rule of the API fails with `InvalidRequest` and is not sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /**
   * Gets the organization, cluster and queue of the client's token. Needs no registered stack. If `clusterUuid` is empty, the token
   * belongs to no cluster and can't be used for stacks.
   */
  readonly getTokenIdentity: () => Effect.Effect<StacksSchema.TokenIdentity, StacksError.StacksError>

  /**
   * Registers a stack for a queue. Safe to repeat. With another queue, it *moves* the stack. Fails with a 403 if the organization
   * has too many active stacks.
   */
  readonly registerStack: (
    request: RegisterStackRequest
  ) => Effect.Effect<StacksSchema.RegisteredStack, StacksError.StacksError>

  /**
   * Deregisters a stack. If a response is lost and the retry gets a 404, it succeeds.
   */
  readonly deregisterStack: (request: DeregisterStackRequest) => Effect.Effect<void, StacksError.StacksError>

  /**
   * Lists a page of up to 1000 of a queue's scheduled jobs, oldest first. The pages are not a snapshot, so together they may miss
   * jobs. Polling keeps the queue connected. `ScheduledJobs` reads all pages as a stream.
   */
  readonly listScheduledJobs: (
    request: ListScheduledJobsRequest
  ) => Effect.Effect<StacksSchema.ScheduledJobsPage, StacksError.StacksError>

  /**
   * Reserves 1 to 1000 jobs, or extends reservations of this stack. Succeeds even if no job could be reserved. A reservation lapses
   * after `reservationExpiry` (at most 1 hour; the service's default is 15 minutes). It can't be canceled.
   */
  readonly batchReserveJobs: (
    request: BatchReserveJobsRequest
  ) => Effect.Effect<StacksSchema.BatchReserveJobsResult, StacksError.StacksError>

  /** Gets a job's environment and command. They can exceed 100 KB. */
  readonly getJob: (request: GetJobRequest) => Effect.Effect<StacksSchema.JobDetails, StacksError.StacksError>

  /** Gets the states of up to 1000 jobs by id. Unknown ids are missing. */
  readonly getJobStates: (
    request: GetJobStatesRequest
  ) => Effect.Effect<StacksSchema.JobStatesResult, StacksError.StacksError>

  /**
   * Finishes a job that the stack can't or won't run, or that it has completed without an agent. The job is finished at most once,
   * even if the request is repeated.
   *
   * The default exit status is the service's, -1. A `detail` of more than 4096 bytes is cropped, with a mark and a warning in the
   * log. After a lost response or a 5xx, the service may have finished the job. So the client gets the job's state first, and
   * sends the request again only if the job is not finished.
   */
  readonly finishJob: (request: FinishJobRequest) => Effect.Effect<void, StacksError.StacksError>

  /** Like `finishJob`, but always sends an exit status: -1 by default. */
  readonly failJob: (request: FailJobRequest) => Effect.Effect<void, StacksError.StacksError>

  /**
   * Adds 1 to 1000 notifications to jobs, at most 100 to each. Valid ones are stored, the others are in `errors` with their
   * indexes. A `detail` of more than 256 characters is cropped. If a response is lost, the retry adds them a second time, because
   * the API has no idempotency key.
   */
  readonly createStackNotifications: (
    request: CreateStackNotificationsRequest
  ) => Effect.Effect<StacksSchema.CreateStackNotificationsResult, StacksError.StacksError>

  /** Adds one notification. Fails with `NotificationRejected` if the service does not store it. */
  readonly createStackNotification: (
    request: CreateStackNotificationRequest
  ) => Effect.Effect<void, StacksError.StacksError | StacksError.NotificationRejected>

  /**
   * Issues an acquisition token for each of 1 to 1000 jobs that this stack has reserved. Call it right before the jobs start. Do not
   * log or store tokens, and do not start jobs in `notIssued`.
   */
  readonly issueJobAcquisitionTokens: (
    request: IssueJobAcquisitionTokensRequest
  ) => Effect.Effect<StacksSchema.IssueJobAcquisitionTokensResult, StacksError.StacksError>
}

/**
 * The client of the Stacks API.
 *
 * **Example** (Registering a stack)
 *
 * ```ts
 * import * as StacksClient from "@stacksapi/core/StacksClient"
 * import * as Effect from "effect/Effect"
 * import * as FetchHttpClient from "effect/http/FetchHttpClient"
 * import * as Layer from "effect/Layer"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* StacksClient.StacksClient
 *   return yield* client.registerStack({ key: "my-stack", type: "custom", queueKey: "_default" })
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
 * Options of {@link make} and {@link layer}.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** A cluster token (`bkct_…`). REST and GraphQL tokens do not work. */
  readonly token: Redacted.Redacted
  /** The base URL of the API, which may have a path. Default {@link DefaultBaseUrl}. */
  readonly baseUrl?: string | URL | undefined
  /** A prefix of the `User-Agent`, for example `my-stack/1.2`. */
  readonly userAgentPrefix?: string | undefined
  /** The timeout of each attempt, which includes reading the response. Default 60 seconds. */
  readonly timeout?: Duration.Input | undefined
  /**
   * Whether debug log lines have request and response bodies. Default false. Tokens are redacted, but a job's environment may hold
   * secrets.
   */
  readonly logPayloads?: boolean | undefined
}

/**
 * Options of {@link layerConfigWith}. Each is a value, or a `Config` that reads the value, for example from variables of your own. A
 * `Config.Wrap<Options>` is accepted too. If `token` or `baseUrl` is missing, it is read from the variables of {@link layerConfig}.
 *
 * @since 0.2.0
 * @category options
 */
export type ConfigOptions = {
  readonly [K in keyof Options]?: Options[K] | Config.Config<NonNullable<Options[K]>> | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Makes a client over the `HttpClient` in the context.
 *
 * **Details**
 *
 * A {@link RetryPolicy.RetryPolicy} or {@link RateLimit.RateLimit} in the context of `make` applies to all calls that have none in
 * their own context.
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

  const isFinished = ({ jobUuid, stackKey }: GetJobRequest, onNestedRequest: () => void) =>
    transport
      .call(
        endpoints.getJobStates,
        { stackKey, jobUuids: [jobUuid] },
        { operation: "getJobStates", stackKey, onNestedRequest }
      )
      .pipe(
        Effect.map(({ states }) => states[jobUuid] === "finished"),
        RetryPolicy.withPolicy(RetryPolicy.none)
      )

  const finish = (operation: Operation, request: FinishJobRequest): Effect.Effect<void, StacksError.StacksError> => {
    const finished = transport.call(endpoints.finishJob, request, {
      operation,
      stackKey: request.stackKey,
      tookEffect: (onNestedRequest) => isFinished(request, onNestedRequest)
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

  /** A method that only calls its endpoint. */
  const methodOf =
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

    listScheduledJobs: methodOf("listScheduledJobs"),

    batchReserveJobs: methodOf("batchReserveJobs"),

    getJob: methodOf("getJob"),

    getJobStates: methodOf("getJobStates"),

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

    issueJobAcquisitionTokens: methodOf("issueJobAcquisitionTokens")
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
 * @see {@link layerConfig} for a client from the configuration
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<StacksClient, never, HttpClient.HttpClient> =>
  Layer.effect(StacksClient, make(options))

/**
 * Like {@link layerConfig}, with options.
 *
 * **Example** (Variables with other names)
 *
 * ```ts
 * import * as StacksClient from "@stacksapi/core/StacksClient"
 * import * as Config from "effect/Config"
 *
 * export const layer = StacksClient.layerConfigWith({
 *   token: Config.Redacted("MY_TOKEN"),
 *   userAgentPrefix: "my-stack/1.2"
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfigWith = (
  options: ConfigOptions
): Layer.Layer<StacksClient, Config.ConfigError, HttpClient.HttpClient> =>
  Layer.effect(StacksClient, Effect.flatMap(optionsFrom(options), make))

/**
 * A client from the configuration, which is the environment by default. The token is `BUILDKITE_CLUSTER_TOKEN` or
 * `BUILDKITE_AGENT_TOKEN`. The base URL is `BUILDKITE_AGENT_ENDPOINT`, by default {@link DefaultBaseUrl}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig: Layer.Layer<StacksClient, Config.ConfigError, HttpClient.HttpClient> = layerConfigWith({})

// -----------------------------------------------------------------------------
// Combinators
// -----------------------------------------------------------------------------

/**
 * Returns the value of an effect with the headers, status and rate limit of the last response in it.
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
