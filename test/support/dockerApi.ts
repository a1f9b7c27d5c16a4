/** As much of an Engine's API as a test needs: a server that answers what the test says, and keeps what it was asked. */
import * as Http from "node:http"
import * as Https from "node:https"
import type { Socket } from "node:net"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { listen } from "./listen.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Http.IncomingHttpHeaders
}

interface Answer {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** A JSON value, or a text or bytes as they are. */
  readonly body?: unknown
  /** The connection stays open after the body, or breaks off. */
  readonly end?: "never" | "broken"
  /** The answer waits for this. */
  readonly after?: Promise<unknown>
}

export type Handler = (asked: Asked) => Answer | undefined

export interface Api {
  readonly host: string
  readonly asked: ReadonlyArray<Asked>
}

const handleWith =
  (asked: Array<Asked>, apiVersion: string, handler: Handler) =>
  (request: Http.IncomingMessage, response: Http.ServerResponse) => {
    request.resume()
    const url = new URL(request.url ?? "/", "http://docker")
    const one: Asked = {
      method: request.method ?? "",
      path: decodeURIComponent(url.pathname),
      query: url.searchParams,
      headers: request.headers
    }
    asked.push(one)
    const unknown = { status: 404, body: { message: `No such thing: ${one.path}` } }
    const ping = { headers: { "api-version": apiVersion }, body: "OK" }
    const { after, body, end, headers, status }: Answer = one.path === "/_ping" ? ping : (handler(one) ?? unknown)
    const answer = () => {
      response.writeHead(status ?? 200, headers)
      const isRaw = typeof body === "string" || body instanceof Uint8Array
      response.write(isRaw ? body : JSON.stringify(body ?? {}), () => {
        if (end === "broken") request.socket.destroy()
      })
      if (end === undefined) response.end()
    }
    if (after === undefined) answer()
    else void after.then(answer)
  }

export interface Options {
  readonly apiVersion?: string
  readonly on?: "unix" | "tcp"
  /** Serves HTTPS, to clients with a certificate of this authority alone. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string }
}

/** Until the scope closes. */
export const serve = Effect.fnUntraced(function* (
  handler: Handler,
  { apiVersion = "1.41", on = "unix", tls }: Options = {}
): Effect.fn.Return<Api, never, Scope.Scope> {
  const asked: Array<Asked> = []
  const handle = handleWith(asked, apiVersion, handler)
  const server =
    tls === undefined
      ? Http.createServer(handle)
      : Https.createServer({ ...tls, requestCert: true, rejectUnauthorized: true }, handle)
  const sockets = new Set<Socket>()
  server.on("connection", (socket) => void sockets.add(socket))
  if (on === "tcp") return { host: `tcp://127.0.0.1:${yield* listen(server, sockets)}`, asked }
  const folder = yield* temporaryFolder
  const path = join(folder, "docker.sock")
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(path, () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  )
  return { host: `unix://${path}`, asked }
})
