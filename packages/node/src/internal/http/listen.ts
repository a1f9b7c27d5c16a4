/** HTTP servers on Node: how they start, how they end, and their addresses. */
import * as Http from "node:http"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { Connections, type Handler } from "./connections.ts"
import { checkMillis, highWaterMark, keepAliveMillis, type Limits, maxHeaderBytes } from "./limits.ts"
import { ListenError } from "./listenError.ts"

/** Listens until the scope closes. */
export const listen = Effect.fnUntraced(function* (
  handler: Handler,
  { host, limits, port }: { readonly host: string; readonly port: number; readonly limits: Limits }
): Effect.fn.Return<Http.Server, ListenError, Scope.Scope> {
  const server = Http.createServer({
    connectionsCheckingInterval: checkMillis,
    headersTimeout: limits.headersMillis,
    highWaterMark,
    keepAliveTimeout: keepAliveMillis,
    maxHeaderSize: maxHeaderBytes,
    requestTimeout: limits.requestMillis
  })
  const connections = new Connections(server, handler, limits)
  yield* Effect.acquireRelease(start(server, host, port), close)
  // A stalled client is seen in three checks; its response has then waited for at least this long.
  yield* Effect.sync(() => connections.closeStalled()).pipe(
    Effect.delay(limits.responseMillis / 2),
    Effect.forever,
    // Sockets run in real time, also with a test clock.
    Effect.provideService(Clock.Clock, Clock.Clock.defaultValue()),
    Effect.forkScoped
  )
  return server
})

const start = (server: Http.Server, host: string, port: number): Effect.Effect<Http.Server, ListenError> =>
  Effect.callback((resume) => {
    const onError = (cause: unknown) => resume(Effect.fail(ListenError.of(host, port, cause)))
    server.once("error", onError)
    server.listen(port, host, () => {
      server.off("error", onError)
      resume(Effect.succeed(server))
    })
  })

/** Closes the server and all connections, without waiting for clients. */
const close = (server: Http.Server): Effect.Effect<void> =>
  Effect.callback((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

/** The address at which clients on this machine reach the server. */
export const authority = (server: Http.Server): string => {
  const bound = server.address()
  if (bound === null || Predicate.isString(bound)) return "localhost"
  const { address, family, port } = bound
  if (address === "0.0.0.0") return `127.0.0.1:${port}`
  if (address === "::") return `[::1]:${port}`
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`
}
