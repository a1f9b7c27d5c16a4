/** The events of this process: calls the listener for one after the other. The publisher never waits. */
import type * as JobRunner from "@stacksapi/core/JobRunner"
import type { ScheduledJob } from "@stacksapi/core/StacksSchema"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { constVoid } from "effect/Function"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { ClusterEvent, Options } from "../../ClusterStack.ts"
import { failedWith, type Outcome } from "./outcome.ts"

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

const runEnded = (job: ScheduledJob, exit: Exit.Exit<Outcome | JobRunner.JobOutcome, unknown>): ClusterEvent => {
  const outcome = Exit.isSuccess(exit)
    ? exit.value
    : Cause.hasInterruptsOnly(exit.cause)
      ? undefined
      : failedWith(exit.cause)
  return {
    _tag: "RunEnded",
    job,
    outcome: outcome?._tag ?? "Interrupted",
    exitStatus: outcome?._tag === "Finished" ? outcome.exitStatus : undefined,
    detail: outcome?._tag === "Finished" ? outcome.detail : outcome?._tag === "Failed" ? outcome.message : undefined
  }
}

/** Publishes the start and the end of a run on this process. */
export const published = <A extends Outcome | JobRunner.JobOutcome, E>(
  publish: Publish,
  job: ScheduledJob,
  queueKey: string,
  run: Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const sinceScheduled = Duration.millis(Math.max(0, now - DateTime.toEpochMillis(job.scheduledAt)))
    publish({ _tag: "RunStarted", job, sinceScheduled }, queueKey)
    return Effect.onExit(run, (exit) => Effect.sync(() => publish(runEnded(job, exit), queueKey)))
  })
