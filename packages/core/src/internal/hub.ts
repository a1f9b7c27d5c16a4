/** What happens, for whoever listens. It takes memory from the first listener on: most stacks of many have none. */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

export interface Hub<A> {
  readonly publish: (value: A) => void
  /** From now on, beginning with the last ones before; ends with the scope of the hub. */
  readonly values: Stream.Stream<A>
}

/** A listener who falls more than `capacity` behind misses the oldest; a new one still gets the last `replay`. */
export const make = Effect.fnUntraced(function* <A>(
  capacity: number,
  replay = 0
): Effect.fn.Return<Hub<A>, never, Scope.Scope> {
  let pubsub: PubSub.PubSub<A> | undefined
  let isOver = false
  const last: Array<A> = []

  const open = Effect.gen(function* () {
    const opened = yield* PubSub.sliding<A>({ capacity, replay })
    for (const value of last.splice(0)) PubSub.publishUnsafe(opened, value)
    if (isOver) yield* PubSub.shutdown(opened)
    pubsub = opened
    return opened
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isOver = true
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
