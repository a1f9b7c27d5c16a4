/**
 * The declaration of the Stacks API. The client, the emulator and the OpenAPI document are made from it. Its data is in
 * `internal/api/declaration.ts`, its schemas are in `StacksSchema`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import type { Endpoint, Operation, RateLimitScope } from "./internal/api/declaration.ts"
import * as Declaration from "./internal/api/declaration.ts"
import * as StacksSchema from "./StacksSchema.ts"

// An alias of these types would not do: declarations of programs would name the internal module.
export type {
  /**
   * The name of an endpoint.
   *
   * @since 0.1.0
   * @category models
   */
  Endpoint,
  /**
   * The name of a method of the client: an endpoint, or `failJob` (which calls `finishJob`) or `createStackNotification` (which calls
   * `createStackNotifications`).
   *
   * @since 0.1.0
   * @category models
   */
  Operation,
  /**
   * The scope that an endpoint's requests are counted under.
   *
   * @since 0.1.0
   * @category models
   */
  RateLimitScope,
  /**
   * The request of an endpoint: its path parameters, query and body as one flat object.
   *
   * @since 0.1.0
   * @category models
   */
  Request,
  /**
   * The success of an endpoint.
   *
   * @since 0.1.0
   * @category models
   */
  Success
} from "./internal/api/declaration.ts"

/**
 * The rate limit of an endpoint: a stack may send at most `limit` requests of this `scope` in any second.
 *
 * @since 0.1.0
 * @category annotations
 */
export class Limit extends Context.Service<Limit, { readonly scope: RateLimitScope; readonly limit: number }>()(
  "@stacksapi/core/StacksApi/Limit"
) {}

/**
 * Whether responses of an endpoint hold secrets. If so, errors and logs do not include them.
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

const {
  getTokenIdentity,
  registerStack,
  deregisterStack,
  listScheduledJobs,
  batchReserveJobs,
  getJob,
  getJobStates,
  finishJob,
  createStackNotifications,
  issueJobAcquisitionTokens
} = Declaration.declarations

/** A schema for each status of a success. */
const success = <const S extends Schema.Top>(schema: S, statuses: ReadonlyArray<number>) =>
  statuses.map((status) => schema.pipe(HttpApiSchema.status(status)))

const annotations = ({ isSensitive, limit }: Declaration.Declaration, description: string) =>
  Context.make(Limit, limit).pipe(
    Context.add(OpenApi.Description, description),
    Context.add(Sensitive, isSensitive ?? false)
  )

/**
 * Every endpoint of the Stacks API. Paths are relative to the base URL, which ends in `/v3`.
 *
 * @since 0.1.0
 * @category models
 */
export class StacksApi extends HttpApi.make("StacksApi")
  .add(
    HttpApiGroup.make("stacks", { topLevel: true })
      .add(
        HttpApiEndpoint.make(getTokenIdentity.method)("getTokenIdentity", getTokenIdentity.path, {
          ...getTokenIdentity,
          success: success(getTokenIdentity.success, [200]),
          error: errors
        }).annotateMerge(annotations(getTokenIdentity, "Gets the organization, cluster and queue of the token.")),
        HttpApiEndpoint.make(registerStack.method)("registerStack", registerStack.path, {
          ...registerStack,
          success: success(registerStack.success, [200, 201]),
          error: errors
        }).annotateMerge(annotations(registerStack, "Registers or updates a stack. Safe to repeat.")),
        HttpApiEndpoint.make(deregisterStack.method)("deregisterStack", deregisterStack.path, {
          ...deregisterStack,
          success: success(Schema.Void, [204]),
          error: errors
        }).annotateMerge(annotations(deregisterStack, "Deregisters a stack.")),
        HttpApiEndpoint.make(listScheduledJobs.method)("listScheduledJobs", listScheduledJobs.path, {
          ...listScheduledJobs,
          success: success(listScheduledJobs.success, [200]),
          error: errors
        }).annotateMerge(annotations(listScheduledJobs, "Lists a page of a queue's scheduled jobs, oldest first.")),
        HttpApiEndpoint.make(batchReserveJobs.method)("batchReserveJobs", batchReserveJobs.path, {
          ...batchReserveJobs,
          success: success(batchReserveJobs.success, [200]),
          error: errors
        }).annotateMerge(annotations(batchReserveJobs, "Reserves jobs for a stack, or extends its reservations.")),
        HttpApiEndpoint.make(getJob.method)("getJob", getJob.path, {
          ...getJob,
          success: success(getJob.success, [200]),
          error: errors
        }).annotateMerge(annotations(getJob, "Gets the environment and command of a job.")),
        HttpApiEndpoint.make(getJobStates.method)("getJobStates", getJobStates.path, {
          ...getJobStates,
          success: success(getJobStates.success, [200]),
          error: errors
        }).annotateMerge(
          annotations(getJobStates, "Gets the states of jobs. Unknown ids are missing from the response.")
        ),
        HttpApiEndpoint.make(finishJob.method)("finishJob", finishJob.path, {
          ...finishJob,
          success: success(Schema.Void, [200]),
          error: errors
        }).annotateMerge(annotations(finishJob, "Finishes a job that no agent has run, at most once.")),
        HttpApiEndpoint.make(createStackNotifications.method)(
          "createStackNotifications",
          createStackNotifications.path,
          {
            ...createStackNotifications,
            success: success(createStackNotifications.success, [200]),
            error: errors
          }
        ).annotateMerge(
          annotations(
            createStackNotifications,
            "Adds notifications to jobs. Valid ones are stored, the others are reported."
          )
        ),
        HttpApiEndpoint.make(issueJobAcquisitionTokens.method)(
          "issueJobAcquisitionTokens",
          issueJobAcquisitionTokens.path,
          {
            ...issueJobAcquisitionTokens,
            success: success(issueJobAcquisitionTokens.success, [201]),
            error: errors
          }
        ).annotateMerge(annotations(issueJobAcquisitionTokens, "Issues an acquisition token for each reserved job."))
      )
      .annotate(OpenApi.Title, "stacks")
  )
  .annotate(OpenApi.Title, "Buildkite Stacks API")
  .annotate(OpenApi.Version, "3")
  .annotate(
    OpenApi.Description,
    "The API for programs that take scheduled jobs from Buildkite and start agents for them. Generated from stacksapi's declaration; Buildkite publishes no such document."
  ) {}

/**
 * The endpoint that an operation calls.
 *
 * @since 0.1.0
 * @category getters
 */
export const endpointOf: (operation: Operation) => Endpoint = Declaration.endpointOf
