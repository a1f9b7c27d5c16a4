/** A client on a real socket, which sends exactly the bytes that a test wants sent. */
import * as Net from "node:net"
import { Deferred, Effect, type Scope } from "effect"

export interface Connection {
  readonly socket: Net.Socket
  /** What was answered, when the connection is closed. */
  readonly closed: Effect.Effect<string>
}

/** A connection to the server of a URL, until the scope closes. */
export const connectTo = Effect.fnUntraced(function* (url: string): Effect.fn.Return<Connection, never, Scope.Scope> {
  const closed = Deferred.makeUnsafe<string>()
  const socket = yield* Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect(Number(new URL(url).port), "127.0.0.1", () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )
  let answer = ""
  socket.on("data", (bytes) => {
    answer += bytes
  })
  socket.on("close", () => Deferred.doneUnsafe(closed, Effect.succeed(answer)))
  return { socket, closed: Deferred.await(closed) }
})

/** Sends pieces without end. */
export const flood = ({ socket }: Connection, head: string, piece: Uint8Array) => {
  const more = () => {
    while (!socket.destroyed && socket.write(piece)) {}
  }
  socket.on("drain", more)
  socket.write(head)
  more()
}
