import { createServer } from "node:net"
import { Effect } from "effect"

/**
 * A port on which nobody listens now, below those that the system gives to anybody who connects: it stays free while whoever
 * listens there is down.
 */
export const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const probe = () => {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const server = createServer().once("error", probe)
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(port))))
  }
  probe()
})
