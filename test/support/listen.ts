/** Has a server listen on a free port of this machine. */
import type * as Net from "node:net"
import { Effect, type Scope } from "effect"

/** Gives the port. When the scope closes, so do the server and all of these sockets. */
export const listen = (server: Net.Server, sockets: Iterable<Net.Socket>): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  )
