/** Agents as the emulator meets them: what they send, and in which order. */
import * as Zlib from "node:zlib"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpMethod from "effect/http/HttpMethod"

export interface AgentCall {
  /** Bytes go out compressed, as an agent sends output; anything else as JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** One request with a token; over whatever connects to the emulator. */
export const call = Effect.fnUntraced(function* (
  token: string,
  method: HttpMethod.HttpMethod,
  path: string,
  { body, headers = {} }: AgentCall = {}
) {
  const emulator = yield* StacksEmulator.StacksEmulator
  const bare = HttpClientRequest.make(method)(`${emulator.baseUrl}${path}`).pipe(
    HttpClientRequest.setHeaders({ authorization: `Token ${token}`, "user-agent": "buildkite-agent/3.0.0", ...headers })
  )
  const request =
    body === undefined
      ? bare
      : body instanceof Uint8Array
        ? HttpClientRequest.bodyUint8Array(bare, body, "text/plain").pipe(
            HttpClientRequest.setHeader("content-encoding", "gzip")
          )
        : HttpClientRequest.bodyJsonUnsafe(bare, body)
  const response = yield* HttpClient.execute(request)
  const text = yield* response.text
  const answer: Record<string, unknown> = text.startsWith("{") ? JSON.parse(text) : { text }
  return { status: response.status, headers: response.headers, body: answer }
})

export const registration = { name: "worker-%n", hostname: "host", version: "3.137.0", meta_data: ["queue=q"] }

/** Registers and connects an agent. */
export const connect = Effect.fnUntraced(function* (token: string, body: unknown = registration) {
  const registered = yield* call(token, "POST", "register", { body })
  const accessToken = String(registered.body["access_token"])
  const ask = (method: HttpMethod.HttpMethod, path: string, options?: AgentCall) =>
    call(accessToken, method, path, options)
  const status = (method: HttpMethod.HttpMethod, path: string, options?: AgentCall) =>
    Effect.map(ask(method, path, options), ({ status }) => status)
  yield* ask("POST", "connect")
  return { id: String(registered.body["id"]), accessToken, ask, status }
})

export type Agent = Effect.Success<ReturnType<typeof connect>>

/** Takes a job and starts it. */
export const begin = Effect.fnUntraced(function* (agent: Agent, jobUuid: string) {
  const acquired = yield* agent.ask("PUT", `jobs/${jobUuid}/acquire`)
  const started = yield* agent.ask("PUT", `jobs/${jobUuid}/start`, { body: { started_at: "2026-01-01T00:00:00Z" } })
  return [acquired.status, started.status]
})

/** Uploads a part of a job's output, which begins at an offset in bytes. */
export const upload = (
  agent: Agent,
  jobUuid: string,
  sequence: number,
  offset: number,
  output: string | Uint8Array
) => {
  const bytes = typeof output === "string" ? new TextEncoder().encode(output) : output
  return agent.status("POST", `jobs/${jobUuid}/chunks?sequence=${sequence}&offset=${offset}&size=${bytes.byteLength}`, {
    body: new Uint8Array(Zlib.gzipSync(bytes))
  })
}

export const finish = (agent: Agent, jobUuid: string, exitStatus: number, more: Record<string, unknown> = {}) =>
  agent.status("PUT", `jobs/${jobUuid}/finish`, {
    body: { exit_status: String(exitStatus), finished_at: "2026-01-01T00:00:01Z", chunks_failed_count: 0, ...more }
  })
