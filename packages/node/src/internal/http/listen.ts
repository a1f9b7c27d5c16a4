/** HTTP servers on Node: how they begin to listen, how they end, and where they are reached. */
import * as Http from "node:http"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { ListenError } from "./listenError.ts"

/** A request that takes longer to arrive does not mean to. */
const requestMillis = 60_000

/** Long enough that no idle connection ends while a client is about to use it again. */
const keepAliveMillis = 60_000

export const listen = (
  handler: Http.RequestListener,
  host: string,
  port: number
): Effect.Effect<Http.Server, ListenError> =>
  Effect.callback((resume) => {
    const server = Http.createServer({ keepAliveTimeout: keepAliveMillis, requestTimeout: requestMillis }, handler)
    const onError = (cause: unknown) => resume(Effect.fail(ListenError.of(host, port, cause)))
    server.once("error", onError)
    server.listen(port, host, () => {
      server.off("error", onError)
      resume(Effect.succeed(server))
    })
  })

/** Ends without waiting for clients: those that keep a connection open, or wait for an answer that never comes. */
export const close = (server: Http.Server): Effect.Effect<void> =>
  Effect.callback((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

/** Where clients on this machine reach the server. */
export const authority = (server: Http.Server): string => {
  const bound = server.address()
  if (bound === null || Predicate.isString(bound)) return "localhost"
  const { address, family, port } = bound
  if (address === "0.0.0.0") return `127.0.0.1:${port}`
  if (address === "::") return `[::1]:${port}`
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`
}
