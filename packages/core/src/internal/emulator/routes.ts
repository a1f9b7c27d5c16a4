/** The handlers of the declared API. */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { HttpServerError } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import { StacksApi } from "../../StacksApi.ts"
import * as StacksSchema from "../../StacksSchema.ts"
import { advance } from "./advance.ts"
import * as ErrorResponse from "./errorResponse.ts"
import * as Jobs from "./jobs.ts"
import * as Notifications from "./notifications.ts"
import * as Stacks from "./stacks.ts"
import { findQueue, type Stack, type State } from "./state.ts"

/** The base path of the API, the same as Buildkite's. */
export const basePath = "/v3"

/** The declared API under its base path. */
export const Api = StacksApi.prefix(basePath)

/** The default lifetime of reservations and acquisition tokens. */
const defaultLifetime = Duration.minutes(15)

const encodeRegistered = HttpServerResponse.schemaJson(StacksSchema.RegisteredStack)

/** An empty 200. Without a length, servers would send it in chunks. */
const emptyBody = HttpServerResponse.empty({ status: 200, headers: { "content-length": "0" } })

const badBody = (error: Schema.SchemaError | HttpServerError): ErrorResponse.ErrorResponse =>
  error._tag === "SchemaError"
    ? { status: 422, message: error.message.replaceAll(/\s+/g, " ") }
    : { status: 400, message: "The body is not valid JSON" }

export const layer = (state: State) => {
  /** Advances the state to the current time, then handles a request. */
  const now = <A>(handle: (now: number) => Result.Result<A, ErrorResponse.ErrorResponse>) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      advance(state, now)
      return Result.getOrElse(handle(now), ErrorResponse.toHttpResponse)
    })

  /** Handles a request of a registered stack. */
  const onStack = <A>(
    stackKey: string,
    handle: (stack: Stack, now: number) => Result.Result<A, ErrorResponse.ErrorResponse>
  ) => now((now) => Result.flatMap(Stacks.find(state, stackKey), (stack) => handle(stack, now)))

  return HttpApiBuilder.group(Api, "stacks", (handlers) =>
    handlers
      .handle("getTokenIdentity", () => now(() => Result.succeed(state.tokenIdentity)))
      .handle("registerStack", ({ payload }) =>
        Effect.flatMap(
          now((now) =>
            Result.map(Stacks.register(state, payload, now), ({ isNew, stack }) => ({
              status: isNew ? 201 : 200,
              body: Stacks.describe(state, stack, now)
            }))
          ),
          (answer) =>
            HttpServerResponse.isHttpServerResponse(answer)
              ? Effect.succeed(answer)
              : Effect.orDie(encodeRegistered(answer.body, { status: answer.status }))
        )
      )
      .handle("deregisterStack", ({ params }) =>
        onStack(params.stackKey, (stack) => {
          state.stacks.delete(stack.key)
          return Result.void
        })
      )
      .handle("listScheduledJobs", ({ params, query }) =>
        onStack(params.stackKey, (stack, now) => {
          const queue = findQueue(state, query.clusterQueueKey)
          if (queue === undefined)
            return ErrorResponse.errorResponse(404, `No cluster queue found with key ${query.clusterQueueKey}`)
          const page = Jobs.list(queue, query)
          if (Result.isSuccess(page)) stack.polledAt = now
          return page
        })
      )
      .handle("batchReserveJobs", ({ params, payload }) =>
        onStack(params.stackKey, (stack, now) => {
          const until = now + Duration.toMillis(payload.reservationExpiry ?? defaultLifetime)
          return Result.succeed(Jobs.reserveAll(state, stack, payload.jobUuids, until, now))
        })
      )
      .handle("getJob", ({ params }) =>
        onStack(params.stackKey, () =>
          Result.map(Jobs.find(state, params.jobUuid), (job) => ({
            id: job.listed.id,
            env: job.env,
            command: job.command
          }))
        )
      )
      .handle("getJobStates", ({ params, payload }) =>
        onStack(params.stackKey, () => {
          const known = payload.jobUuids.flatMap((id) => state.jobs.get(id) ?? [])
          return Result.succeed({ states: Object.fromEntries(known.map((job) => [job.listed.id, job.state])) })
        })
      )
      .handle("finishJob", ({ params, payload }) =>
        onStack(params.stackKey, (stack, now) =>
          Result.flatMap(Jobs.find(state, params.jobUuid), (job) =>
            Result.map(Jobs.finish(state, stack, job, payload, now), () => emptyBody)
          )
        )
      )
      // The body is decoded here, because the declared schema would refuse a whole batch for one invalid notification.
      .handleRaw("createStackNotifications", ({ params }) =>
        Effect.matchEffect(HttpServerRequest.schemaBodyJson(Notifications.Batch), {
          onFailure: (error) => Effect.succeed(ErrorResponse.toHttpResponse(badBody(error))),
          onSuccess: ({ notifications }) =>
            onStack(params.stackKey, (stack, now) =>
              Result.succeed(Notifications.create(state, stack, notifications, now))
            )
        })
      )
      .handle("issueJobAcquisitionTokens", ({ params, payload }) =>
        onStack(params.stackKey, (stack, now) => {
          const expiresAt = now + Duration.toMillis(payload.tokenLifetime ?? defaultLifetime)
          const { issued, notIssued } = Jobs.issueTokens(state, stack, payload.jobUuids, expiresAt, now)
          return Result.succeed({
            tokens: issued.map(({ jobUuid, token }) => ({
              jobUuid,
              token: Redacted.make(token),
              expiresAt: DateTime.makeUnsafe(expiresAt)
            })),
            notIssued
          })
        })
      )
  )
}
