/**
 * The emulator of the Stacks API over real HTTP, for clients in other processes and other languages.
 *
 * @since 0.1.0
 */

import * as Http from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import type * as StacksClient from "@stacksapi/core/StacksClient"
import * as StacksEmulator from "@stacksapi/core/StacksEmulator"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { authority, listen } from "./internal/http/listen.ts"
import type { ListenError } from "./internal/http/listenError.ts"
import * as OriginCheck from "./internal/http/originCheck.ts"
import { reset } from "./internal/http/reset.ts"
import * as Check from "./internal/options.ts"
import * as Page from "./internal/page/page.ts"
import * as NodeStacksClient from "./NodeStacksClient.ts"

/**
 * The options of the emulator and its server.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends StacksEmulator.Options {
  /** The address to listen on. Default `127.0.0.1`, which only this machine reaches. */
  readonly host?: string | undefined
  /** The port to listen on. Default 0, which takes a free port: see `baseUrl`. */
  readonly port?: number | undefined
  /** Whether to enforce the documented rate limits. Default true. */
  readonly rateLimits?: boolean | undefined
  /** Whether to serve a web page at `/` that shows jobs and requests, and has buttons to change them. Default true. */
  readonly page?: boolean | undefined
  /**
   * More names at which clients reach the emulator, for example `host.docker.internal` from containers. API and page respond only at these
   * names, `localhost`, loopback addresses and `host`; other names get 421. Default none.
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /**
   * The maximum number of connections. Beyond it, each new connection closes the one that has been idle for longest; if none is idle, the
   * new one is refused. Default 1024.
   */
  readonly maxConnections?: number | undefined
}

const limits = {
  maxHeldBytes: 128 * 1024 * 1024,
  headersMillis: 20_000,
  requestMillis: 60_000,
  responseMillis: 30_000
}

export {
  /**
   * The emulator can't listen on its address: the port is in use, or the address does not belong to this machine.
   *
   * @since 0.1.0
   * @category errors
   */
  ListenError
} from "./internal/http/listenError.ts"

/**
 * Makes an emulator, and serves it over HTTP until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (
  options?: Options
) => Effect.Effect<StacksEmulator.Service, InvalidOptions | ListenError, Scope.Scope> = Effect.fnUntraced(function* ({
  allowedHosts = [],
  host = "127.0.0.1",
  maxConnections = 1024,
  page = true,
  port = 0,
  rateLimits = true,
  ...options
}: Options = {}) {
  yield* Check.text("host", host, "an address to listen on")
  yield* Check.port("port", port, 0)
  yield* Check.integer("maxConnections", maxConnections, 1)
  for (const name of allowedHosts) yield* Check.text("allowedHosts", name, "names of hosts")
  const { emulator, requestsVersion } = counting(yield* StacksEmulator.make({ ...options, rateLimits }))
  // The requests' scope closes after the server, which closes their connections: no client gets a response to an interrupted request.
  const requests = yield* Scope.fork(yield* Effect.scope)
  const originCheck = OriginCheck.make({ boundTo: host, allowedHosts })
  const api = OriginCheck.before(answer(emulator), originCheck)
  const app = page ? Page.before(api, yield* Page.make({ emulator, requestsVersion, originCheck })) : api
  const handler = yield* NodeHttpServer.makeHandler(app, { scope: requests })
  const server = yield* listen(handler, { host, port, limits: { ...limits, maxConnections } })
  return { ...emulator, baseUrl: `http://${authority(server)}${new URL(emulator.baseUrl).pathname}` }
})

/**
 * Serves the emulator over HTTP under the base path `/v3`, and provides the `StacksEmulator` behind it, whose `baseUrl` is its URL.
 *
 * **Details**
 *
 * By default it listens on a free port of `127.0.0.1`, enforces the rate limits, and accepts the token `bkct_emulator`. Faults break real
 * connections. Closing the scope closes open connections and interrupts requests.
 *
 * `/` is a web page for people. It shows queues, jobs, stacks, notifications and requests as they change, and has buttons that add and
 * cancel jobs, pause queues and inject faults.
 *
 * The page needs no login, and the API's default token is public. Therefore both respond only to requests whose `Host` is `localhost`, a
 * loopback address, the option `host` or one of `allowedHosts`. They reject requests of other web pages, by `Origin` and
 * `Sec-Fetch-Site`.
 *
 * **Example** (An emulator for another program)
 *
 * ```ts
 * import * as StacksEmulator from "@stacksapi/core/StacksEmulator"
 * import * as NodeStacksEmulator from "@stacksapi/node/NodeStacksEmulator"
 * import * as Console from "effect/Console"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const emulator = yield* StacksEmulator.StacksEmulator
 *   yield* emulator.addJobs([{ queueKey: "linux", command: "make test" }])
 *   yield* Console.log(`BUILDKITE_AGENT_ENDPOINT=${emulator.baseUrl}`)
 *   return yield* Effect.never
 * }).pipe(Effect.provide(NodeStacksEmulator.layer({ port: 4567 })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<StacksEmulator.StacksEmulator, InvalidOptions | ListenError> =>
  Layer.effect(StacksEmulator.StacksEmulator, make(options))

/**
 * A `StacksClient` for the emulator, over real HTTP.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient: Layer.Layer<StacksClient.StacksClient, never, StacksEmulator.StacksEmulator> = Layer.unwrap(
  Effect.map(StacksEmulator.StacksEmulator, ({ baseUrl, token }) => NodeStacksClient.layer({ baseUrl, token }))
)

// -----------------------------------------------------------------------------
// Requests
// -----------------------------------------------------------------------------

/** Counts requests when they arrive and when they end, so that the page need not read the log to see whether it changed. */
const counting = (emulator: StacksEmulator.Service) => {
  let version = 0
  const count = Effect.sync(() => {
    version++
  })
  const httpEffect = count.pipe(Effect.andThen(emulator.httpEffect), Effect.ensuring(count))
  return { emulator: { ...emulator, httpEffect }, requestsVersion: Effect.sync(() => version) }
}

/** Responds, or breaks the connection. Interruptible, for clients that disconnect, and for the end of the scope. */
const answer = (emulator: StacksEmulator.Service) =>
  emulator.httpEffect.pipe(
    Effect.catchTag("BrokenConnection", ({ sent }) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => breakConnection(request, sent))
    ),
    Effect.interruptible
  )

/** Breaks the connection, which interrupts the request. */
const breakConnection = (
  request: HttpServerRequest.HttpServerRequest,
  sent: StacksEmulator.BrokenConnection["sent"]
): Effect.Effect<never> =>
  Effect.suspend(() => {
    const response = NodeHttpServerRequest.toServerResponse(request)
    const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
    if (sent === undefined || !(response instanceof Http.ServerResponse)) {
      reset(socket)
    } else {
      response.writeHead(sent.response.status, sent.response.headers)
      response.write(sent.body, () => socket.destroy())
    }
    return Effect.never
  })
