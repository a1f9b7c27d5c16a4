/**
 * The endpoints of the Stacks API, as data. `StacksApi` makes an `HttpApi` of it. The client is compiled from the data, without
 * `effect/http-api`, which would make it a fifth larger.
 */
import type * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import * as StacksSchema from "../../StacksSchema.ts"

/** The scope that an endpoint's requests are counted under. */
export type RateLimitScope =
  | "list-scheduled-jobs"
  | "batch-reserve"
  | "show-job"
  | "batch-load-job-states"
  | "finish-job"
  | "stack-notification"
  | "default"

export interface Declaration {
  readonly method: "GET" | "POST" | "PUT"
  /** Relative to the base URL, which ends in `/v3`. */
  readonly path: `/${string}`
  readonly params?: Schema.Top
  readonly query?: Schema.Top
  readonly payload?: Schema.Top
  /** The body of a success. Without it, the body is ignored. */
  readonly success?: Schema.Top
  /** The requests that a stack may send in any second, and their scope. */
  readonly limit: { readonly scope: RateLimitScope; readonly limit: number }
  /** Whether its responses hold secrets, which errors and logs must not include. */
  readonly isSensitive?: boolean
}

export const declarations = {
  getTokenIdentity: {
    method: "GET",
    path: "/token",
    success: StacksSchema.TokenIdentity,
    limit: { scope: "default", limit: 10 }
  },
  registerStack: {
    method: "POST",
    path: "/stacks/register",
    payload: StacksSchema.RegisterStackPayload,
    success: StacksSchema.RegisteredStack,
    limit: { scope: "default", limit: 10 }
  },
  deregisterStack: {
    method: "POST",
    path: "/stacks/:stackKey/deregister",
    params: StacksSchema.StackParams,
    limit: { scope: "default", limit: 10 }
  },
  listScheduledJobs: {
    method: "GET",
    path: "/stacks/:stackKey/scheduled-jobs",
    params: StacksSchema.StackParams,
    query: StacksSchema.ListScheduledJobsQuery,
    success: StacksSchema.ScheduledJobsPage,
    limit: { scope: "list-scheduled-jobs", limit: 10 }
  },
  batchReserveJobs: {
    method: "PUT",
    path: "/stacks/:stackKey/scheduled-jobs/batch-reserve",
    params: StacksSchema.StackParams,
    payload: StacksSchema.BatchReserveJobsPayload,
    success: StacksSchema.BatchReserveJobsResult,
    limit: { scope: "batch-reserve", limit: 10 }
  },
  getJob: {
    method: "GET",
    path: "/stacks/:stackKey/jobs/:jobUuid",
    params: StacksSchema.JobParams,
    success: StacksSchema.JobDetails,
    limit: { scope: "show-job", limit: 1000 }
  },
  getJobStates: {
    method: "POST",
    path: "/stacks/:stackKey/jobs/get-states",
    params: StacksSchema.StackParams,
    payload: StacksSchema.GetJobStatesPayload,
    success: StacksSchema.JobStatesResult,
    limit: { scope: "batch-load-job-states", limit: 20 }
  },
  finishJob: {
    method: "POST",
    path: "/stacks/:stackKey/jobs/:jobUuid/finish",
    params: StacksSchema.JobParams,
    payload: StacksSchema.FinishJobPayload,
    limit: { scope: "finish-job", limit: 100 }
  },
  createStackNotifications: {
    method: "POST",
    path: "/stacks/:stackKey/notifications",
    params: StacksSchema.StackParams,
    payload: StacksSchema.CreateStackNotificationsPayload,
    success: StacksSchema.CreateStackNotificationsResult,
    limit: { scope: "stack-notification", limit: 200 }
  },
  issueJobAcquisitionTokens: {
    method: "POST",
    path: "/stacks/:stackKey/job-acquisition-tokens",
    params: StacksSchema.StackParams,
    payload: StacksSchema.IssueJobAcquisitionTokensPayload,
    success: StacksSchema.IssueJobAcquisitionTokensResult,
    // The limit is not documented. This is the limit of `getJob`; response headers correct it.
    limit: { scope: "show-job", limit: 1000 },
    isSensitive: true
  }
} as const satisfies Readonly<Record<string, Declaration>>

type Declarations = typeof declarations

/** The name of an endpoint. */
export type Endpoint = keyof Declarations

/** The type of a part of a declaration; `Otherwise` if there is no such part. */
type PartOf<E extends Endpoint, Part extends string, Otherwise> =
  Declarations[E] extends Readonly<Record<Part, Schema.Schema<infer T>>> ? T : Otherwise

/** The request of an endpoint: its path parameters, query and body as one flat object. */
export type Request<E extends Endpoint> = Types.Simplify<
  PartOf<E, "params", unknown> & PartOf<E, "query", unknown> & PartOf<E, "payload", unknown>
>

/** The success of an endpoint. */
export type Success<E extends Endpoint> = E extends "listScheduledJobs"
  ? StacksSchema.ScheduledJobsPage
  : PartOf<E, "success", void>

/** The name of a method of the client: an endpoint, or a method that calls another endpoint. */
export type Operation = Endpoint | "failJob" | "createStackNotification"

/** The endpoint that an operation calls. */
export const endpointOf = (operation: Operation): Endpoint =>
  operation === "failJob"
    ? "finishJob"
    : operation === "createStackNotification"
      ? "createStackNotifications"
      : operation
