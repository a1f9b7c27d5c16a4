/** The events of this process: calls the listener for one after the other. The publisher never waits. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { ClusterEvent, Options } from "../../ClusterStack.ts"

export type Publish = (event: ClusterEvent, queueKey: string) => void

/** How long the listener may take for the last events. */
const shutdownTimeout = "5 seconds"

/** How many events may wait for the listener. */
const capacity = 10_000

export const make = Effect.fnUntraced(function* (
  onEvent: Options["onEvent"]
): Effect.fn.Return<Publish, never, Scope.Scope> {
  if (onEvent === undefined) return constVoid
  const queue = yield* Queue.dropping<readonly [event: ClusterEvent, queueKey: string], Cause.Done>(capacity)
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  let isDropping = false
  const listening = yield* Queue.take(queue).pipe(
    Effect.flatMap(([event, queueKey]) =>
      Effect.catchDefect(onEvent(event, queueKey), (defect) =>
        Effect.logError("The listener for the cluster's events failed", defect)
      )
    ),
    Effect.forever,
    Effect.ignore,
    Effect.forkDetach
  )
  yield* Effect.addFinalizer(() =>
    Queue.end(queue).pipe(
      Effect.andThen(Effect.timeoutOption(Fiber.await(listening), shutdownTimeout)),
      Effect.andThen(Effect.timeoutOption(Fiber.interrupt(listening), shutdownTimeout))
    )
  )
  return (event, queueKey) => {
    const wasDropping = isDropping
    isDropping = Queue.sizeUnsafe(queue) >= capacity
    if (isDropping && !wasDropping) {
      runFork(Effect.logWarning(`onEvent is too slow: ${capacity} events wait for it, and further ones are dropped`))
    }
    Queue.offerUnsafe(queue, [event, queueKey])
  }
})
