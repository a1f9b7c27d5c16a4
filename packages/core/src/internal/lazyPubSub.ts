/**
 * A sliding `PubSub` that is made with its first subscriber. Effect's own allocates its whole capacity at once, which adds up for
 * hundreds of stacks that nobody subscribes to.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

export interface LazyPubSub<A> {
  readonly publish: (value: A) => void
  /** The last `replay` values, then all new ones. Ends with the scope of the `PubSub`. */
  readonly values: Stream.Stream<A>
}

/** A subscriber that is more than `capacity` values behind misses the oldest. A new one first gets the last `replay` values. */
export const make = Effect.fnUntraced(function* <A>(
  capacity: number,
  replay = 0
): Effect.fn.Return<LazyPubSub<A>, never, Scope.Scope> {
  let pubsub: PubSub.PubSub<A> | undefined
  let isShutDown = false
  /** The values to replay, until there is a `PubSub`. */
  const last: Array<A> = []

  const open = Effect.gen(function* () {
    const opened = yield* PubSub.sliding<A>({ capacity, replay })
    for (const value of last.splice(0)) PubSub.publishUnsafe(opened, value)
    if (isShutDown) yield* PubSub.shutdown(opened)
    pubsub = opened
    return opened
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isShutDown = true
      return pubsub === undefined ? Effect.void : PubSub.shutdown(pubsub)
    })
  )
  return {
    publish: (value) => {
      if (pubsub !== undefined) {
        PubSub.publishUnsafe(pubsub, value)
        return
      }
      last.push(value)
      if (last.length > replay) last.shift()
    },
    values: Stream.unwrap(
      Effect.suspend(() => Effect.map(pubsub === undefined ? open : Effect.succeed(pubsub), Stream.fromPubSub))
    )
  }
})
