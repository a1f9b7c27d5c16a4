/** The events of this process: calls the listener for one after the other, and never makes the publisher wait. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ClusterEvent, Options } from "../../ClusterStack.ts"

export type Publish = (event: ClusterEvent, queueKey: string) => void

/** How long the listener may take for the last events. */
const shutdownTimeout = "5 seconds"

export const make = Effect.fnUntraced(function* (
  onEvent: Options["onEvent"]
): Effect.fn.Return<Publish, never, Scope.Scope> {
  if (onEvent === undefined) return constVoid
  const queue = yield* Queue.unbounded<readonly [event: ClusterEvent, queueKey: string], Cause.Done>()
  const listening = yield* Stream.fromQueue(queue).pipe(
    Stream.runForEach(([event, queueKey]) =>
      Effect.catchDefect(onEvent(event, queueKey), (defect) =>
        Effect.logError("The listener for the cluster's events failed", defect)
      )
    ),
    Effect.forkDetach
  )
  yield* Effect.addFinalizer(() =>
    Queue.end(queue).pipe(
      Effect.andThen(Effect.timeoutOption(Fiber.await(listening), shutdownTimeout)),
      Effect.andThen(Effect.timeoutOption(Fiber.interrupt(listening), shutdownTimeout))
    )
  )
  return (event, queueKey) => {
    Queue.offerUnsafe(queue, [event, queueKey])
  }
})
