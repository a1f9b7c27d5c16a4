/** What happens on a process, told to whoever listens: one after the other, and to nobody's delay. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ClusterEvent, Options } from "../../ClusterStack.ts"

export type Tell = (event: ClusterEvent, queueKey: string) => void

/** How long whoever listens may take at the end. */
const farewellTimeout = "5 seconds"

export const make = Effect.fnUntraced(function* (
  onEvent: Options["onEvent"]
): Effect.fn.Return<Tell, never, Scope.Scope> {
  if (onEvent === undefined) return constVoid
  const queue = yield* Queue.unbounded<readonly [event: ClusterEvent, queueKey: string], Cause.Done>()
  const listening = yield* Stream.fromQueue(queue).pipe(
    Stream.runForEach(([event, queueKey]) =>
      Effect.catchDefect(onEvent(event, queueKey), (defect) =>
        Effect.logError("What listens to the cluster's events died", defect)
      )
    ),
    Effect.forkDetach
  )
  yield* Effect.addFinalizer(() =>
    Queue.end(queue).pipe(
      Effect.andThen(Effect.timeoutOption(Fiber.await(listening), farewellTimeout)),
      Effect.andThen(Effect.timeoutOption(Fiber.interrupt(listening), farewellTimeout))
    )
  )
  return (event, queueKey) => {
    Queue.offerUnsafe(queue, [event, queueKey])
  }
})
