/**
 * One connection to Redis, without reconnecting.
 *
 * `NodeRedis` of `@effect/platform-node` waits for its commands when it closes, and hangs if Redis hangs. This connection is closed at
 * once.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redis from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { createClient } from "redis"

const connectMillis = 2000
const handshakeMillis = 1000

export interface Connection {
  readonly redis: Redis.Redis["Service"]
  /** Fails when the connection ends. */
  readonly ended: Effect.Effect<never, Redis.RedisError>
}

const failed = (cause: unknown) => new Redis.RedisError({ cause })

/** Connects once, until the scope closes. */
export const connect = Effect.fnUntraced(function* (
  url: Redacted.Redacted<string>
): Effect.fn.Return<Connection, Redis.RedisError, Scope.Scope> {
  const ended = yield* Deferred.make<never, Redis.RedisError>()
  const client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      createClient({
        url: Redacted.value(url),
        // Commands without a connection fail at once. `store.ts` reconnects.
        disableOfflineQueue: true,
        socket: { connectTimeout: connectMillis, reconnectStrategy: false }
      }).on("error", (cause) => {
        Deferred.doneUnsafe(ended, Exit.fail(failed(cause)))
      })
    ),
    (client) => Effect.sync(() => client.isOpen && client.destroy())
  )
  yield* Effect.tryPromise({ try: () => client.connect(), catch: failed }).pipe(
    Effect.timeoutOrElse({
      duration: connectMillis + handshakeMillis,
      orElse: () => Effect.fail(failed("Redis did not answer in time"))
    })
  )

  const send = <A>(command: string, ...args: ReadonlyArray<string>) =>
    Effect.tryPromise({ try: () => client.sendCommand<A>([command, ...args]), catch: failed })
  const redis = yield* Redis.make({
    send,
    subscribe: () => Effect.fail(failed("Subscriptions are not supported")),
    connect: Effect.fail(failed("Dedicated connections are not supported"))
  })
  return { redis, ended: Deferred.await(ended) }
})
