/** A connection to a database that can be cut silently (no data arrives, and neither side gets an error), reset, and slow. */
import { connect, createServer, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

export interface CuttableConnection {
  /** The URL of the database through this connection. */
  readonly url: string
  readonly cut: Effect.Effect<void>
  readonly restore: Effect.Effect<void>
  /** Ends all connections that are open. */
  readonly reset: Effect.Effect<void>
}

/** `latency` says how many milliseconds data takes, in each direction. */
export const makeCuttableConnection = (
  url: string,
  latency: () => number = () => 0
): Effect.Effect<CuttableConnection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const target = new URL(url)
    const sockets = new Set<Socket>()
    let isCut = false
    const join = (from: Socket, to: Socket) => {
      sockets.add(from)
      let arrivesAt = 0
      const later = (act: () => void) => {
        const delay = latency()
        if (delay === 0) return act()
        // Nothing overtakes what was sent before.
        arrivesAt = Math.max(arrivesAt, Date.now() + delay)
        setTimeout(act, arrivesAt - Date.now())
      }
      from.on("data", (chunk) => later(() => void to.write(chunk)))
      from.on("end", () => later(() => to.end()))
      from.on("error", () => to.destroy())
      from.on("close", () => {
        sockets.delete(from)
        to.destroy()
      })
      if (isCut) from.pause()
    }
    const server = createServer((socket) => {
      const there = connect(Number(target.port), target.hostname)
      join(socket, there)
      join(there, socket)
    })
    const port = yield* Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
        })
      }),
      () =>
        Effect.sync(() => {
          server.close()
          for (const socket of sockets) socket.destroy()
        })
    )
    const there = new URL(url)
    there.port = String(port)
    return {
      url: there.href,
      cut: Effect.sync(() => {
        isCut = true
        for (const socket of sockets) socket.pause()
      }),
      restore: Effect.sync(() => {
        isCut = false
        for (const socket of sockets) socket.resume()
      }),
      reset: Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
      })
    }
  })
