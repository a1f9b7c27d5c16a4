/** Effect's store of rate limits in a Redis that may be unavailable for a while: then calls fail at once. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import {
  makeStoreRedis,
  RateLimiterError,
  type RateLimiterStore,
  RateLimitStoreError
} from "effect/persistence/RateLimiter"
import * as Redis from "effect/persistence/Redis"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { connect } from "./connection.ts"
import * as ServerClock from "./serverClock.ts"

type Store = RateLimiterStore["Service"]

/** How often the server's time is read, which also shows whether it responds. */
const heartbeatInterval = "3 seconds"
const heartbeatTimeout = "1 second"
const pauseBeforeConnecting = "1 second"

/** Connects, and reconnects when needed, until the scope closes. Waits for the first attempt. */
export const make = Effect.fnUntraced(function* (options: {
  readonly url: Redacted.Redacted<string>
  readonly prefix: string
}): Effect.fn.Return<Store, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const isTried = yield* Deferred.make<void>()
  let current: Store | undefined
  let lastError: unknown

  const session = Effect.gen(function* () {
    const { ended, redis } = yield* connect(options.url)
    const measured = ServerClock.measure(redis).pipe(Effect.timeout(heartbeatTimeout))
    let ahead = yield* measured
    const store = yield* Effect.provideService(makeStoreRedis({ prefix: options.prefix }), Redis.Redis, redis)
    const serverClock = ServerClock.make(clock, () => ahead)
    current = {
      ...store,
      tokenBucket: (question) => Effect.provideService(store.tokenBucket(question), Clock.Clock, serverClock)
    }
    yield* Deferred.succeed(isTried, void 0)
    const heartbeats = Effect.sleep(heartbeatInterval).pipe(
      Effect.andThen(measured),
      Effect.tap((measured) => Effect.sync(() => (ahead = measured))),
      Effect.forever
    )
    return yield* Effect.raceFirst(ended, heartbeats)
  }).pipe(
    Effect.scoped,
    Effect.catchCause((cause) => {
      current = undefined
      lastError = Cause.squash(cause)
      return Deferred.succeed(isTried, void 0)
    })
  )
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(session, Effect.sleep(pauseBeforeConnecting))))
  yield* Deferred.await(isTried)

  const withStore = <A>(use: (store: Store) => Effect.Effect<A, RateLimiterError>) =>
    Effect.suspend(() =>
      current === undefined
        ? Effect.fail(
            new RateLimiterError({
              reason: new RateLimitStoreError({ message: "There is no connection to Redis", cause: lastError })
            })
          )
        : use(current)
    )
  return {
    fixedWindow: (question) => withStore((store) => store.fixedWindow(question)),
    tokenBucket: (question) => withStore((store) => store.tokenBucket(question)),
    adaptiveConsume: (question) => withStore((store) => store.adaptiveConsume(question)),
    adaptiveFeedback: (feedback) => withStore((store) => store.adaptiveFeedback(feedback))
  }
})
