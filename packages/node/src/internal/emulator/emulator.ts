/** The implementation of `NodeStacksEmulator`, which loads this module when it starts an emulator. */
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
import type { Options } from "../../NodeStacksEmulator.ts"
import * as ClientLayers from "../client/layers.ts"
import { authority, listen } from "../http/listen.ts"
import type { ListenError } from "../http/listenError.ts"
import * as OriginCheck from "../http/originCheck.ts"
import { reset } from "../http/reset.ts"
import * as Check from "../options.ts"
import * as Page from "../page/page.ts"

const limits = {
  maxHeldBytes: 128 * 1024 * 1024,
  headersMillis: 20_000,
  requestMillis: 60_000,
  responseMillis: 30_000
}

/** Serves an emulator until the scope closes. */
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

export const layer = (options?: Options): Layer.Layer<StacksEmulator.StacksEmulator, InvalidOptions | ListenError> =>
  Layer.effect(StacksEmulator.StacksEmulator, make(options))

export const layerClient: Layer.Layer<StacksClient.StacksClient, never, StacksEmulator.StacksEmulator> = Layer.unwrap(
  Effect.map(StacksEmulator.StacksEmulator, ({ baseUrl, token }) => ClientLayers.layer({ baseUrl, token }))
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
