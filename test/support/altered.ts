/** A service that responds like the emulator, except for what a test alters. */
import * as Http from "node:http"
import type * as Net from "node:net"
import { StacksEmulator } from "@stacksapi/core/testing"
import { Effect } from "effect"
import { listen } from "./listen.ts"

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Alters the response to a request, such as `GET token`. */
export type Alter = (request: string, answer: Answer) => Answer | Promise<Answer>

/** Alters the JSON of the successes of requests that match. */
export const json =
  (request: RegExp, change: (body: Readonly<Record<string, unknown>>) => unknown): Alter =>
  (actual, answer) =>
    request.test(actual) && answer.status < 300
      ? { ...answer, body: JSON.stringify(change(JSON.parse(answer.body))) }
      : answer

export const status =
  (request: RegExp, status: number, body = JSON.stringify({ message: "Altered" })): Alter =>
  (actual, answer) =>
    request.test(actual) ? { ...answer, status, body: status === 204 ? "" : body } : answer

export const header =
  (request: RegExp, name: string, value: string | undefined): Alter =>
  (actual, answer) => {
    if (!request.test(actual)) return answer
    const { [name]: _, ...headers } = answer.headers
    return { ...answer, headers: value === undefined ? headers : { ...headers, [name]: value } }
  }

/** The service acts on requests that match, but does not respond. `reached` is called then. */
export const stalled =
  (request: RegExp, reached: () => void): Alter =>
  (actual, answer) => {
    if (!request.test(actual)) return answer
    reached()
    return new Promise(() => {})
  }

/** Serves the altered emulator until the scope closes. Returns its base URL. */
export const serve = Effect.fnUntraced(function* (alter: Alter) {
  const { baseUrl } = yield* StacksEmulator.StacksEmulator
  const forward = async (request: Http.IncomingMessage, response: Http.ServerResponse) => {
    const chunks: Array<Buffer> = []
    for await (const chunk of request) chunks.push(chunk)
    const { authorization = "" } = request.headers
    const method = request.method ?? "GET"
    const url = request.url ?? "/"
    const answered = await fetch(new URL(url, baseUrl), {
      method,
      headers: { authorization, "content-type": "application/json" },
      ...(method === "GET" ? {} : { body: Buffer.concat(chunks) })
    })
    const kept = Array.from(answered.headers).filter(([name]) =>
      /^(date|ratelimit-|retry-after|content-type)/.test(name)
    )
    const actual = { status: answered.status, headers: Object.fromEntries(kept), body: await answered.text() }
    const { body, headers, status } = await alter(`${method} ${url.replace(/^\/v3\//, "")}`, actual)
    response.writeHead(status, headers)
    response.end(body)
  }
  const server = Http.createServer((request, response) => {
    response.sendDate = false
    forward(request, response).catch((error) => response.destroy(error))
  })
  const sockets = new Set<Net.Socket>()
  server.on("connection", (socket) => sockets.add(socket))
  return `http://127.0.0.1:${yield* listen(server, sockets)}/v3/`
})
