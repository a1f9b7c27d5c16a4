/** Makes the calls with this library's client, and describes their results as the reference program does. */

import { RateLimit, StacksClient, type StacksError } from "@stacksapi/core"
import { NodeStacksClient } from "@stacksapi/node"
import { DateTime, Effect, Layer, Logger, Predicate, Redacted } from "effect"
import type { Call } from "./calls.ts"

export interface Result {
  readonly value?: unknown
  readonly status?: number
  readonly error?: string
  readonly scope?: string
}

type Method = (
  client: StacksClient.StacksClient["Service"],
  // biome-ignore lint/suspicious/noExplicitAny: the calls are JSON, some of them invalid on purpose
  args: any
) => Effect.Effect<unknown, StacksError.StacksError>

const seconds = (value: number | undefined) => (value === undefined ? undefined : `${value} seconds`)

const methods: Readonly<Record<string, Method>> = {
  registerStack: (client, { key, metadata, queue_key, type }) =>
    client.registerStack({ key, type, queueKey: queue_key, metadata }),
  deregisterStack: (client, { stack_key }) => client.deregisterStack({ stackKey: stack_key }),
  listScheduledJobs: (client, { after, limit, queue_key, stack_key }) =>
    client.listScheduledJobs({ stackKey: stack_key, clusterQueueKey: queue_key, pageSize: limit, startCursor: after }),
  batchReserveJobs: (client, { job_uuids, reservation_expiry_seconds, stack_key }) =>
    client.batchReserveJobs({
      stackKey: stack_key,
      jobUuids: job_uuids,
      reservationExpiry: seconds(reservation_expiry_seconds) as `${number} seconds`
    }),
  getJob: (client, { job_uuid, stack_key }) => client.getJob({ stackKey: stack_key, jobUuid: job_uuid }),
  getJobStates: (client, { job_uuids, stack_key }) => client.getJobStates({ stackKey: stack_key, jobUuids: job_uuids }),
  finishJob: (client, { detail, exit_status, job_uuid, stack_key }) =>
    client.finishJob({ stackKey: stack_key, jobUuid: job_uuid, detail, exitStatus: exit_status }),
  createStackNotifications: (client, { notifications, stack_key }) =>
    client.createStackNotifications({
      stackKey: stack_key,
      notifications: notifications.map(({ detail, job_uuid, timestamp }: Record<string, string>) => ({
        jobUuid: job_uuid,
        detail,
        ...(timestamp !== undefined && { timestamp: DateTime.makeUnsafe(timestamp) })
      }))
    })
}

const perform = ({ args, method, token }: Call, baseUrl: string, defaultToken: string) =>
  Effect.gen(function* () {
    const client = yield* StacksClient.StacksClient
    const call = methods[method]
    if (call === undefined) return yield* Effect.die(`unknown method ${method}`)
    const { headers, value } = yield* StacksClient.withResponse(call(client, args))
    return { value: toWire(value), scope: headers["ratelimit-scope"] ?? "" }
  }).pipe(
    Effect.catch((error) => Effect.succeed(describe(error))),
    Effect.provide(
      Layer.provide(
        NodeStacksClient.layer({ baseUrl, token: Redacted.make(token ?? defaultToken) }),
        RateLimit.layerNone
      )
    )
  )

const describe = (error: StacksError.StacksError): Result =>
  error._tag === "ErrorResponse"
    ? { status: error.status, error: messageOf(error.rawBody) }
    : error._tag === "InvalidRequest"
      ? { error: "InvalidRequest" }
      : { error: error.message }

const messageOf = (body: string): string => String(JSON.parse(body).message)

/** camelCase to snake_case, and times to texts. */
const toWire = (value: unknown): unknown => {
  if (DateTime.isDateTime(value)) return DateTime.formatIso(value)
  if (Array.isArray(value)) return value.map(toWire)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      name === "env" || name === "states" || name === "metadata" ? field : toWire(field)
    ])
  )
}

/** The call with the cursor that it follows, which is in the result of the call before. */
const withCursor = (call: Call, before: Result | undefined): Call => {
  if (call.follows !== true) return call
  const { value } = before ?? {}
  const pageInfo = Predicate.hasProperty(value, "page_info") ? value.page_info : undefined
  const after = Predicate.hasProperty(pageInfo, "end_cursor") ? pageInfo.end_cursor : undefined
  return { ...call, args: { ...call.args, after: after ?? undefined } }
}

/** Calls of a burst are made at once. */
export const run = (calls: ReadonlyArray<Call>, baseUrl: string, token: string) =>
  Effect.gen(function* () {
    const results: Array<Result> = []
    for (let start = 0; start < calls.length; ) {
      let end = start + 1
      while (calls[start]?.burst !== undefined && calls[end]?.burst === calls[start]?.burst) end++
      const batch = calls.slice(start, end).map((call) => withCursor(call, results.at(-1)))
      results.push(
        ...(yield* Effect.forEach(batch, (call) => perform(call, baseUrl, token), { concurrency: "unbounded" }))
      )
      start = end
    }
    return results
  }).pipe(Effect.provide(Logger.layer([])))
