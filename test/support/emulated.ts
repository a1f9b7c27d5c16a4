/** Raw requests to the emulator: what goes over the wire, and what comes back. */
import * as StacksSchema from "@stacksapi/core/StacksSchema"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect, Layer, Schema } from "effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpMethod from "effect/http/HttpMethod"

export const emulated = (options?: StacksEmulator.Options) =>
  StacksEmulator.layerHttpClient.pipe(Layer.provideMerge(StacksEmulator.layer(options)))

export interface SendOptions {
  /** A text goes out as it is, anything else as JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string | undefined>>
}

export const request = (method: HttpMethod.HttpMethod, path: string, options: SendOptions = {}) => {
  const { body, headers } = options
  const bare = HttpClientRequest.make(method)(`http://anywhere.invalid/v3/${path}`).pipe(
    HttpClientRequest.setHeaders({ authorization: "Token bkct_emulator", ...headers })
  )
  if (body === undefined) return bare
  return typeof body === "string"
    ? HttpClientRequest.bodyText(bare, body, "application/json")
    : HttpClientRequest.bodyJsonUnsafe(bare, body)
}

export const send = Effect.fnUntraced(function* (
  method: HttpMethod.HttpMethod,
  path: string,
  options: SendOptions = {}
) {
  const response = yield* HttpClient.execute(request(method, path, options))
  const text = yield* response.text
  const body: unknown = text === "" ? undefined : JSON.parse(text)
  return { status: response.status, headers: response.headers, body }
})

/** Only the status and the body: what most rules are about. */
export const answer = (method: HttpMethod.HttpMethod, path: string, options?: SendOptions) =>
  Effect.map(send(method, path, options), ({ body, status }) => ({ status, body }))

export const status = (method: HttpMethod.HttpMethod, path: string, options?: SendOptions) =>
  Effect.map(send(method, path, options), ({ status }) => status)

export const register = (key = "s", queue = "q") =>
  send("POST", "stacks/register", { body: { key, type: "custom", queue_key: queue, metadata: {} } })

const decodePage = Schema.decodeUnknownEffect(StacksSchema.ScheduledJobsPage)

export const list = Effect.fnUntraced(function* (query: Record<string, string | number> = {}, stackKey = "s") {
  const params = new URLSearchParams({ queue_key: "q", ...query })
  const { body } = yield* send("GET", `stacks/${stackKey}/scheduled-jobs?${params}`)
  const page = yield* decodePage(body)
  return { ...page, ids: page.jobs.map((job) => job.id) }
})

export const reserve = (ids: ReadonlyArray<string>, options: { seconds?: number; stackKey?: string } = {}) =>
  answer("PUT", `stacks/${options.stackKey ?? "s"}/scheduled-jobs/batch-reserve`, {
    body: { job_uuids: ids, reservation_expiry_seconds: options.seconds }
  })

export const finish = (id: string, body: unknown = { detail: "done" }, stackKey = "s") =>
  answer("POST", `stacks/${stackKey}/jobs/${id}/finish`, { body })

export const states = (...ids: ReadonlyArray<string>) =>
  answer("POST", "stacks/s/jobs/get-states", { body: { job_uuids: ids } })

/** Adds jobs to the queue `q`, given by their ids. */
export const addJobs = Effect.fnUntraced(function* (...jobs: ReadonlyArray<string | Partial<StacksEmulator.NewJob>>) {
  const emulator = yield* StacksEmulator.StacksEmulator
  return yield* emulator.addJobs(
    jobs.map((job) => ({ queueKey: "q", ...(typeof job === "string" ? { id: job } : job) }))
  )
})

/** A job as the emulator knows it. */
export const job = Effect.fnUntraced(function* (id: string) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const found = (yield* emulator.jobs).find((job) => job.id === id)
  return found ?? (yield* Effect.die(`no job ${id}`))
})
