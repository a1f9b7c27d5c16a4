/** What every method takes, gives and fails with. */
import type { StacksApi, StacksSchema } from "@stacksapi/core"
import { RateLimit, RetryPolicy, StacksClient, type StacksError } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import { type Config, type DateTime, type Duration, Effect, Layer, type Redacted } from "effect"
import type { Headers, HttpClient } from "effect/http"
import { describe, expect, test } from "tstyche"

declare const client: StacksClient.Service

/** The parts of an effect's type. */
type Success<T> = T extends Effect.Effect<infer A, infer _E, infer _R> ? A : never
type Failure<T> = T extends Effect.Effect<infer _A, infer E, infer _R> ? E : never
type Needs<T> = T extends Effect.Effect<infer _A, infer _E, infer R> ? R : never

type Request<M extends keyof StacksClient.Service> = Parameters<StacksClient.Service[M]>[0]
type Call<M extends keyof StacksClient.Service> = ReturnType<StacksClient.Service[M]>

describe("every method", () => {
  test("is named after its operation", () => {
    expect<keyof StacksClient.Service>().type.toBe<StacksApi.Operation>()
  })

  test("fails with StacksError and needs nothing", () => {
    type Plain = Exclude<StacksApi.Operation, "createStackNotification">
    expect<{ [M in Plain]: Failure<Call<M>> }>().type.toBe<{ [M in Plain]: StacksError.StacksError }>()
    expect<Needs<Call<StacksApi.Operation>>>().type.toBe<never>()
  })

  test("createStackNotification fails with NotificationRejected, too", () => {
    expect<Failure<Call<"createStackNotification">>>().type.toBe<
      StacksError.StacksError | StacksError.NotificationRejected
    >()
  })
})

describe("requests", () => {
  test("registerStack", () => {
    expect(client.registerStack).type.toBeCallableWith({ key: "k", type: "custom", queueKey: "q" })
    expect(client.registerStack).type.toBeCallableWith({
      key: "k",
      type: "kubernetes",
      queueKey: "q",
      metadata: { a: "b" }
    })
    expect(client.registerStack).type.toBeCallableWith({
      key: "k",
      type: "elastic",
      queueKey: "q",
      metadata: undefined
    })
    expect(client.registerStack).type.not.toBeCallableWith({ key: "k", type: "mine", queueKey: "q" })
    expect(client.registerStack).type.not.toBeCallableWith({ key: "k", type: "custom" })
    expect(client.registerStack).type.not.toBeCallableWith({
      key: "k",
      type: "custom",
      queueKey: "q",
      metadata: { a: 1 }
    })
  })

  test("getTokenIdentity", () => {
    expect(client.getTokenIdentity).type.toBeCallableWith()
    expect(client.getTokenIdentity).type.not.toBeCallableWith({ stackKey: "s" })
  })

  test("deregisterStack", () => {
    expect<Request<"deregisterStack">>().type.toBe<{ readonly stackKey: string }>()
  })

  test("listScheduledJobs", () => {
    expect<Request<"listScheduledJobs">>().type.toBe<{
      readonly stackKey: string
      readonly clusterQueueKey: string
      readonly pageSize?: number | undefined
      readonly startCursor?: string | undefined
    }>()
  })

  test("batchReserveJobs", () => {
    expect<Request<"batchReserveJobs">>().type.toBe<{
      readonly stackKey: string
      readonly jobUuids: ReadonlyArray<string>
      readonly reservationExpiry?: Duration.Input | undefined
    }>()
  })

  test("getJob", () => {
    expect<Request<"getJob">>().type.toBe<{ readonly stackKey: string; readonly jobUuid: string }>()
  })

  test("getJobStates", () => {
    expect<Request<"getJobStates">>().type.toBe<{
      readonly stackKey: string
      readonly jobUuids: ReadonlyArray<string>
    }>()
  })

  test("finishJob and failJob", () => {
    expect<Request<"finishJob">>().type.toBe<{
      readonly stackKey: string
      readonly jobUuid: string
      readonly exitStatus?: number | undefined
      readonly detail: string
      readonly signalReason?: StacksSchema.SignalReason | undefined
    }>()
    expect<Request<"failJob">>().type.toBe<Request<"finishJob">>()
  })

  test("notifications", () => {
    interface Notification {
      readonly jobUuid: string
      readonly detail: string
      readonly timestamp?: DateTime.Utc | undefined
    }
    expect<Request<"createStackNotification">>().type.toBe<{
      readonly stackKey: string
      readonly jobUuid: string
      readonly detail: string
      readonly timestamp?: DateTime.Utc | undefined
    }>()
    expect<Request<"createStackNotifications">>().type.toBeAssignableFrom<{
      readonly stackKey: string
      readonly notifications: ReadonlyArray<Notification>
    }>()
    expect<Request<"createStackNotifications">>().type.toBeAssignableTo<{
      readonly stackKey: string
      readonly notifications: ReadonlyArray<Notification>
    }>()
  })

  test("issueJobAcquisitionTokens", () => {
    expect<Request<"issueJobAcquisitionTokens">>().type.toBe<{
      readonly stackKey: string
      readonly jobUuids: ReadonlyArray<string>
      readonly tokenLifetime?: Duration.Input | undefined
    }>()
  })

  test("a field that does not exist is refused", () => {
    expect(client.getJob).type.not.toBeCallableWith({ stackKey: "s", jobUuid: "j", job_uuid: "j" })
    expect(client.getJob).type.not.toBeCallableWith({ stackKey: "s" })
  })
})

describe("successes", () => {
  test("void where there is no result", () => {
    expect<Success<Call<"deregisterStack" | "finishJob" | "failJob" | "createStackNotification">>>().type.toBe<void>()
  })

  test("getTokenIdentity", () => {
    expect<Success<Call<"getTokenIdentity">>>().type.toBe<{
      readonly uuid: string
      readonly description: string
      readonly tokenType: string
      readonly organizationSlug: string
      readonly organizationUuid: string
      readonly clusterUuid: string
      readonly clusterName: string
      readonly queueUuid: string
      readonly queueKey: string
    }>()
  })

  test("registerStack", () => {
    expect<Success<Call<"registerStack">>>().type.toBe<{
      readonly id: string
      readonly organizationUuid: string
      readonly clusterQueueKey: string
      readonly key: string
      readonly type: StacksSchema.StackType | (string & {})
      readonly metadata: { readonly [key: string]: string }
      readonly lastConnectedOn: DateTime.Utc | null
      readonly state: StacksSchema.StackState
    }>()
  })

  test("listScheduledJobs", () => {
    type Page = Success<Call<"listScheduledJobs">>
    expect<Page["clusterQueue"]>().type.toBe<{
      readonly id: string | null
      readonly dispatchPaused: boolean | undefined
    }>()
    expect<Page["pageInfo"]>().type.toBe<{ readonly hasNextPage: boolean; readonly endCursor: string | null }>()
    type Job = Page["jobs"][number]
    expect<Job>().type.toBe<StacksSchema.ScheduledJob>()
    expect<Job["agentQueryRules"]>().type.toBe<ReadonlyArray<string>>()
    expect<Job["scheduledAt"]>().type.toBe<DateTime.Utc>()
    expect<Job["runnableAt"]>().type.toBe<DateTime.Utc | null | undefined>()
    expect<Job["pipeline"]["slug"] | Job["build"]["branch"] | Job["step"]["key"]>().type.toBe<string | null>()
    expect<Job["build"]["number"]>().type.toBe<number | null>()
  })

  test("jobs", () => {
    expect<Success<Call<"batchReserveJobs">>>().type.toBe<{
      readonly reserved: ReadonlyArray<string>
      readonly notReserved: ReadonlyArray<string>
    }>()
    expect<Success<Call<"getJob">>>().type.toBe<{
      readonly id: string
      readonly env: { readonly [name: string]: string }
      readonly command: string
    }>()
    expect<Success<Call<"getJobStates">>>().type.toBe<{
      readonly states: { readonly [jobUuid: string]: StacksSchema.JobState }
    }>()
  })

  test("notifications and tokens", () => {
    type Errors = Success<Call<"createStackNotifications">>["errors"]
    expect<Errors[number]>().type.toBe<{ readonly error: string; readonly indexes: ReadonlyArray<number> }>()
    type Tokens = Success<Call<"issueJobAcquisitionTokens">>
    expect<Tokens["tokens"][number]["token"]>().type.toBe<Redacted.Redacted>()
    expect<Tokens["tokens"][number]["expiresAt"]>().type.toBe<DateTime.Utc>()
    expect<Tokens["notIssued"]>().type.toBe<ReadonlyArray<string>>()
  })
})

describe("layers", () => {
  const options: StacksClient.Options = { token: null as unknown as Redacted.Redacted }

  test("need an HttpClient and nothing else", () => {
    expect(StacksClient.layer(options)).type.toBe<
      Layer.Layer<StacksClient.StacksClient, never, HttpClient.HttpClient>
    >()
    expect(StacksClient.layerConfig).type.toBe<
      Layer.Layer<StacksClient.StacksClient, Config.ConfigError, HttpClient.HttpClient>
    >()
  })

  test("on Node need nothing", () => {
    expect(NodeStacksClient.layer(options)).type.toBe<Layer.Layer<StacksClient.StacksClient>>()
    expect(NodeStacksClient.layerConfig).type.toBe<Layer.Layer<StacksClient.StacksClient, Config.ConfigError>>()
  })

  test("the token must be redacted", () => {
    expect(StacksClient.layer).type.not.toBeCallableWith({ token: "bkct_plain" })
    expect(StacksClient.layer).type.not.toBeCallableWith({})
  })

  test("of policies and limits change nothing else", () => {
    const layer = StacksClient.layer(options)
    expect(layer.pipe(Layer.provide(RetryPolicy.layerNone))).type.toBe<typeof layer>()
    expect(layer.pipe(Layer.provide(RateLimit.layerNone))).type.toBe<typeof layer>()
    expect(layer.pipe(Layer.provide(RetryPolicy.layerFor({ listScheduledJobs: RetryPolicy.none })))).type.toBe<
      typeof layer
    >()

    const call = client.getJob({ stackKey: "s", jobUuid: "j" })
    expect(call.pipe(Effect.provide(RetryPolicy.layerNone))).type.toBe<typeof call>()
    expect(call.pipe(RetryPolicy.withPolicy(RetryPolicy.none))).type.toBe<typeof call>()
    expect(RetryPolicy.withPolicy(call, RetryPolicy.none)).type.toBe<typeof call>()
  })

  test("a policy for an operation that does not exist is refused", () => {
    expect(RetryPolicy.layerFor).type.not.toBeCallableWith({ listJobs: RetryPolicy.none })
  })
})

describe("withResponse", () => {
  test("adds what came with the value", () => {
    const seen = StacksClient.withResponse(client.getJob({ stackKey: "s", jobUuid: "j" }))
    expect<Failure<typeof seen>>().type.toBe<StacksError.StacksError>()
    type Seen = Success<typeof seen>
    expect<Seen["value"]>().type.toBe<StacksSchema.JobDetails>()
    expect<Seen["headers"]>().type.toBe<Headers.Headers>()
    expect<Seen["status"] | Seen["attempts"]>().type.toBe<number>()
    expect<Seen["rateLimit"]>().type.toBe<RateLimit.RateLimitStatus>()
  })
})
