/** A server on a real socket that keeps every byte it gets and says exactly the bytes that a test wants said. */
import * as Net from "node:net"
import * as Tls from "node:tls"
import { Deferred, Effect, Latch, type Scope } from "effect"
import type { Certificate } from "./certificate.ts"
import { listen } from "./listen.ts"

/** A request as it came over the wire. */
export interface RawRequest {
  readonly method: string
  /** The request target: path and query, as sent. */
  readonly target: string
  /** Names in lower case, in the order in which they were sent. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: string
  /** Done when the connection that it came on is closed. */
  readonly closed: Deferred.Deferred<void>
}

export interface RawServer {
  readonly origin: string
  readonly baseUrl: string
  /** What has arrived, oldest first. */
  readonly requests: ReadonlyArray<RawRequest>
  /** The first request; waits for it. */
  readonly firstRequest: Effect.Effect<RawRequest>
  /** Waits until there have been connections, and all of them are closed. */
  readonly deserted: Effect.Effect<void>
}

export interface Options {
  /** Speaks TLS with this certificate. */
  readonly certificate?: Certificate
  /** What to do with a connection before anything has come over it. */
  readonly onConnection?: (socket: Net.Socket) => void
  /** Whether a connection stays open for writing when the other side has ended it. */
  readonly allowHalfOpen?: boolean
}

/** What to do with a request: write to its socket, or not. */
export type Answer = (socket: Net.Socket, request: RawRequest, index: number) => void

/** The value of a request's header, "" where it was not sent. */
export const header = (request: RawRequest, name: string): string =>
  request.headers.find(([key]) => key === name)?.[1] ?? ""

/** Listens on a free port of the loopback interface until the scope closes. */
export const make = (
  answer: Answer,
  { allowHalfOpen = false, certificate, onConnection }: Options = {}
): Effect.Effect<RawServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Array<RawRequest> = []
    const first = Deferred.makeUnsafe<RawRequest>()
    const sockets = new Set<Net.Socket>()
    const deserted = Latch.makeUnsafe(false)
    const keep = (socket: Net.Socket) => {
      deserted.closeUnsafe()
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => {
        sockets.delete(socket)
        if (sockets.size === 0) deserted.openUnsafe()
      })
    }
    const converse = (socket: Net.Socket) => {
      const closed = Deferred.makeUnsafe<void>()
      socket.on("error", () => {})
      socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
      onConnection?.(socket)
      onRequests(socket, (parsed) => {
        const request = { ...parsed, closed }
        const index = requests.push(request) - 1
        Deferred.doneUnsafe(first, Effect.succeed(request))
        answer(socket, request, index)
      })
    }
    const server =
      certificate === undefined
        ? Net.createServer({ allowHalfOpen }, converse)
        : Tls.createServer({ cert: certificate.cert, key: certificate.key, ALPNProtocols: ["http/1.1"] }, converse)
    server.on("connection", keep)
    const port = yield* listen(server, sockets)
    const origin = `${certificate === undefined ? "http" : "https"}://127.0.0.1:${port}`
    return {
      origin,
      baseUrl: `${origin}/v3/`,
      requests,
      firstRequest: Deferred.await(first),
      deserted: deserted.await
    }
  })

/** Calls back with each request of a connection, when it has come as a whole. */
const onRequests = (socket: Net.Socket, onRequest: (request: Omit<RawRequest, "closed">) => void): void => {
  let buffer: Buffer = Buffer.alloc(0)
  socket.on("data", (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk])
    for (;;) {
      const end = buffer.indexOf("\r\n\r\n")
      if (end < 0) return
      const [start = "", ...lines] = buffer.subarray(0, end).toString("latin1").split("\r\n")
      const [method = "", target = ""] = start.split(" ")
      const headers = lines.map((line) => {
        const colon = line.indexOf(":")
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
      })
      const length = Number(headers.find(([name]) => name === "content-length")?.[1] ?? 0)
      if (buffer.length < end + 4 + length) return
      const body = buffer.subarray(end + 4, end + 4 + length).toString("utf8")
      buffer = buffer.subarray(end + 4 + length)
      onRequest({ method, target, headers, body })
    }
  })
}

export interface ResponseOptions {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** The bytes of a response, with its `content-length` unless the headers say otherwise. */
export const response = ({ body = "", headers = {}, status = 200 }: ResponseOptions): Buffer => {
  const bytes = Buffer.from(typeof body === "string" ? Buffer.from(body) : body)
  const names = new Set(Object.keys(headers).map((name) => name.toLowerCase()))
  const framed = names.has("content-length") || names.has("transfer-encoding") || status === 204
  const all = framed ? headers : { ...headers, "content-length": String(bytes.length) }
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} .\r\n${head.join("")}\r\n`, "latin1"), bytes])
}

/** An answer with these bytes, whatever the request. */
export const always =
  (options: ResponseOptions): Answer =>
  (socket) =>
    void socket.write(response(options))

/** The chunks of a body in `transfer-encoding: chunked`, without the end. */
export const chunk = (bytes: string | Uint8Array): Buffer => {
  const data = Buffer.from(typeof bytes === "string" ? Buffer.from(bytes) : bytes)
  return Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from("\r\n")])
}

/** Breaks the connection as a crashed process does: with RST, not FIN. */
export const reset: Answer = (socket) => void socket.resetAndDestroy()
