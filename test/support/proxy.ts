/** A proxy for tests: it takes every host name for this machine, and notes what it is asked for. */
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import { Effect, type Scope } from "effect"
import type * as Certificate from "./certificate.ts"
import { listen } from "./listen.ts"

export interface Options {
  /** The port of this machine to which it leads. */
  readonly to: number
  /** `name:password`; whoever has another is turned away. */
  readonly login?: string
  /** What it answers to CONNECT in place of connecting. */
  readonly refusal?: number
  /** It breaks the connection in place of an answer. */
  readonly isBroken?: boolean
  readonly certificate?: Certificate.Certificate
}

export interface Proxy {
  readonly port: number
  /** `host:port`. */
  readonly host: string
  readonly url: string
  /** Methods and targets, in their order. */
  readonly seen: ReadonlyArray<string>
}

export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Proxy, never, Scope.Scope> {
  const seen: Array<string> = []
  const isWelcome = ({ headers }: Http.IncomingMessage) =>
    options.login === undefined ||
    headers["proxy-authorization"] === `Basic ${Buffer.from(options.login).toString("base64")}`

  const forward: Http.RequestListener = (request, response) => {
    seen.push(`${request.method} ${request.url}`)
    if (options.isBroken) return void request.socket.destroy()
    if (!isWelcome(request)) {
      // More than anybody reads of it without being asked to.
      response.writeHead(407, { "proxy-authenticate": "Basic" })
      return void response.end("x".repeat(200_000))
    }
    const { host, pathname, search } = new URL(request.url ?? "")
    const { "proxy-authorization": _, ...headers } = request.headers
    const onward = Http.request(
      {
        host: "127.0.0.1",
        port: options.to,
        path: pathname + search,
        method: request.method,
        headers: { ...headers, host }
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(response)
      }
    )
    onward.on("error", () => response.destroy())
    request.pipe(onward)
  }

  const server =
    options.certificate === undefined
      ? Http.createServer(forward)
      : Https.createServer({ cert: options.certificate.cert, key: options.certificate.key }, forward)
  const sockets = new Set<Net.Socket>()
  const keep = (socket: Net.Socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
    socket.on("error", () => {})
  }
  server.on("connection", keep)
  server.on("connect", (request: Http.IncomingMessage, socket: Net.Socket) => {
    seen.push(`CONNECT ${request.url}`)
    socket.on("error", () => {})
    if (options.isBroken) return void socket.destroy()
    const refusal = isWelcome(request) ? options.refusal : 407
    if (refusal !== undefined) return void socket.end(`HTTP/1.1 ${refusal} No\r\n\r\n`)
    const onward = Net.connect(options.to, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
      socket.pipe(onward).pipe(socket)
    })
    keep(onward)
    onward.on("error", () => socket.destroy())
  })
  const port = yield* listen(server, sockets)
  const host = options.certificate === undefined ? `127.0.0.1:${port}` : `localhost:${port}`
  return { port, host, url: `http${options.certificate === undefined ? "" : "s"}://${host}`, seen }
})

/** A SOCKS5 proxy that leads all names to a port of this machine. */
export const makeSocks = Effect.fnUntraced(function* (to: number): Effect.fn.Return<Proxy, never, Scope.Scope> {
  const seen: Array<string> = []
  const sockets = new Set<Net.Socket>()
  const server = Net.createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    // The greeting: no log-in is needed.
    socket.once("data", () => {
      socket.write(Buffer.of(5, 0))
      socket.once("data", (request) => {
        const length = request[4] ?? 0
        seen.push(`CONNECT ${request.subarray(5, 5 + length)}:${request.readUInt16BE(5 + length)}`)
        const onward = Net.connect(to, "127.0.0.1", () => {
          socket.write(Buffer.of(5, 0, 0, 1, 127, 0, 0, 1, 0, 0))
          socket.pipe(onward).pipe(socket)
        })
        sockets.add(onward)
        onward.on("error", () => socket.destroy())
      })
    })
  })
  const port = yield* listen(server, sockets)
  return { port, host: `127.0.0.1:${port}`, url: `socks5://127.0.0.1:${port}`, seen }
})
