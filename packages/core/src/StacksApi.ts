/**
 * The Stacks API, declared once: the client, the emulator and the OpenAPI document are all made from this declaration. A new
 * endpoint, or a new field, is added here and in `StacksSchema` and nowhere else.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import type * as Types from "effect/Types"
import * as StacksSchema from "./StacksSchema.ts"

/**
 * The name under which the service counts the requests of an endpoint.
 *
 * @since 0.1.0
 * @category rate limits
 */
export type RateLimitScope =
  | "list-scheduled-jobs"
  | "batch-reserve"
  | "show-job"
  | "batch-load-job-states"
  | "finish-job"
  | "stack-notification"
  | "default"

/**
 * How often one stack may call an endpoint: at most `limit` requests in any one second, counted under `scope`.
 *
 * @since 0.1.0
 * @category rate limits
 */
export class Limit extends Context.Service<Limit, { readonly scope: RateLimitScope; readonly limit: number }>()(
  "@stacksapi/core/StacksApi/Limit"
) {}

/**
 * Marks an endpoint whose answers hold secrets: they are kept out of errors and logs.
 *
 * @since 0.1.0
 * @category annotations
 */
export const Sensitive = Context.Reference<boolean>("@stacksapi/core/StacksApi/Sensitive", {
  defaultValue: () => false
})

const errors = [
  StacksSchema.ErrorBody.pipe(HttpApiSchema.status(400)),
  StacksSchema.ErrorBody.pipe(HttpApiSchema.status(401)),
  StacksSchema.ErrorBody.pipe(HttpApiSchema.status(403)),
  StacksSchema.ErrorBody.pipe(HttpApiSchema.status(404)),
  StacksSchema.ErrorBody.pipe(HttpApiSchema.status(422)),
  StacksSchema.RateLimitedBody.pipe(HttpApiSchema.status(429)),
  StacksSchema.ErrorBody.pipe(HttpApiSchema.status(500)),
  StacksSchema.ErrorBody.pipe(HttpApiSchema.status(503))
] as const

/**
 * Every endpoint of the Stacks API. Paths are relative to the base URL, which ends in `/v3`.
 *
 * @since 0.1.0
 * @category api
 */
export class StacksApi extends HttpApi.make("StacksApi")
  .add(
    HttpApiGroup.make("stacks", { topLevel: true })
      .add(
        HttpApiEndpoint.post("registerStack", "/stacks/register", {
          payload: StacksSchema.RegisterStackPayload,
          success: [
            StacksSchema.RegisteredStack.pipe(HttpApiSchema.status(200)),
            StacksSchema.RegisteredStack.pipe(HttpApiSchema.status(201))
          ],
          error: errors
        })
          .annotate(Limit, { scope: "default", limit: 10 })
          .annotate(OpenApi.Description, "Registers a stack, or updates it: registering a key again is safe."),
        HttpApiEndpoint.post("deregisterStack", "/stacks/:stackKey/deregister", {
          params: StacksSchema.StackParams,
          success: HttpApiSchema.NoContent,
          error: errors
        })
          .annotate(Limit, { scope: "default", limit: 10 })
          .annotate(OpenApi.Description, "Tells the service that a stack leaves cleanly."),
        HttpApiEndpoint.get("listScheduledJobs", "/stacks/:stackKey/scheduled-jobs", {
          params: StacksSchema.StackParams,
          query: StacksSchema.ListScheduledJobsQuery,
          success: StacksSchema.ScheduledJobsPage,
          error: errors
        })
          .annotate(Limit, { scope: "list-scheduled-jobs", limit: 10 })
          .annotate(OpenApi.Description, "Lists one page of a queue's scheduled jobs, the oldest first."),
        HttpApiEndpoint.put("batchReserveJobs", "/stacks/:stackKey/scheduled-jobs/batch-reserve", {
          params: StacksSchema.StackParams,
          payload: StacksSchema.BatchReserveJobsPayload,
          success: StacksSchema.BatchReserveJobsResult,
          error: errors
        })
          .annotate(Limit, { scope: "batch-reserve", limit: 10 })
          .annotate(OpenApi.Description, "Reserves jobs for a stack, or extends its reservations."),
        HttpApiEndpoint.get("getJob", "/stacks/:stackKey/jobs/:jobUuid", {
          params: StacksSchema.JobParams,
          success: StacksSchema.JobDetails,
          error: errors
        })
          .annotate(Limit, { scope: "show-job", limit: 1000 })
          .annotate(OpenApi.Description, "Gives the environment and the command of a job."),
        HttpApiEndpoint.post("getJobStates", "/stacks/:stackKey/jobs/get-states", {
          params: StacksSchema.StackParams,
          payload: StacksSchema.GetJobStatesPayload,
          success: StacksSchema.JobStatesResult,
          error: errors
        })
          .annotate(Limit, { scope: "batch-load-job-states", limit: 20 })
          .annotate(OpenApi.Description, "Gives the states of jobs; unknown ids are missing from the answer."),
        HttpApiEndpoint.post("finishJob", "/stacks/:stackKey/jobs/:jobUuid/finish", {
          params: StacksSchema.JobParams,
          payload: StacksSchema.FinishJobPayload,
          success: HttpApiSchema.Empty(200),
          error: errors
        })
          .annotate(Limit, { scope: "finish-job", limit: 100 })
          .annotate(OpenApi.Description, "Finishes a job that no agent ran, at most once."),
        HttpApiEndpoint.post("createStackNotifications", "/stacks/:stackKey/notifications", {
          params: StacksSchema.StackParams,
          payload: StacksSchema.CreateStackNotificationsPayload,
          success: StacksSchema.CreateStackNotificationsResult,
          error: errors
        })
          .annotate(Limit, { scope: "stack-notification", limit: 200 })
          .annotate(OpenApi.Description, "Adds notifications to jobs; the valid ones are stored, the others reported."),
        HttpApiEndpoint.post("issueJobAcquisitionTokens", "/stacks/:stackKey/job-acquisition-tokens", {
          params: StacksSchema.StackParams,
          payload: StacksSchema.IssueJobAcquisitionTokensPayload,
          success: StacksSchema.IssueJobAcquisitionTokensResult.pipe(HttpApiSchema.status(201)),
          error: errors
        })
          // Its limit is undocumented; this is the one of single-job lookups, corrected by the response headers.
          .annotate(Limit, { scope: "show-job", limit: 1000 })
          .annotate(Sensitive, true)
          .annotate(OpenApi.Description, "Issues one acquisition token for each reserved job.")
      )
      .annotate(OpenApi.Title, "stacks")
  )
  .annotate(OpenApi.Title, "Buildkite Stacks API")
  .annotate(OpenApi.Version, "3")
  .annotate(
    OpenApi.Description,
    "Takes scheduled jobs from Buildkite and turns them into running agents. Made from stacksapi's declaration; Buildkite publishes no such document."
  ) {}

/**
 * The name of an endpoint.
 *
 * @since 0.1.0
 * @category models
 */
export type Endpoint = keyof (typeof StacksApi)["groups"]["stacks"]["endpoints"]

type Declared = (typeof StacksApi)["groups"]["stacks"]["endpoints"]

type Part<T> = [T] extends [never] ? unknown : T

/**
 * What an endpoint takes: its path parameters, query and body as one flat object.
 *
 * @since 0.1.0
 * @category models
 */
export type Request<E extends Endpoint> = Types.Simplify<
  Part<HttpApiEndpoint.Params<Declared[E]>["Type"]> &
    Part<HttpApiEndpoint.Query<Declared[E]>["Type"]> &
    Part<HttpApiEndpoint.Payload<Declared[E]>["Type"]>
>

/**
 * What an endpoint answers.
 *
 * @since 0.1.0
 * @category models
 */
export type Success<E extends Endpoint> = HttpApiEndpoint.Success<Declared[E]>["Type"]

/**
 * The name of a method of the client: an endpoint, or one of the two methods that are built on another one's endpoint
 * (`failJob` on `finishJob`, `createStackNotification` on `createStackNotifications`).
 *
 * @since 0.1.0
 * @category models
 */
export type Operation = Endpoint | "failJob" | "createStackNotification"

/**
 * The endpoint that an operation calls.
 *
 * @since 0.1.0
 * @category models
 */
export const endpointOf = (operation: Operation): Endpoint =>
  operation === "failJob"
    ? "finishJob"
    : operation === "createStackNotification"
      ? "createStackNotifications"
      : operation
