/** One poll of job states for everybody who watches jobs of one stack. It runs only while somebody does. */
import * as Arr from "effect/Array"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as RetryPolicy from "../RetryPolicy.ts"
import type * as StacksClient from "../StacksClient.ts"
import type { FatalError } from "../StacksError.ts"
import { type JobState, MaxBatchSize } from "../StacksSchema.ts"
import { stateIn } from "./stateIn.ts"

/** Somebody who watches one job. Both functions are called by the poll and must return at once. */
interface Watcher {
  readonly jobUuid: string
  /** Called with every answer, news or not; undefined for an id that the service does not know. */
  readonly onState: (state: JobState | undefined) => void
  /** Called when a poll failed for good; the poll goes on all the same. */
  readonly onFatal: (error: FatalError) => void
}

export interface StatePoll {
  /** Tells a watcher every answer, as long as the scope is open. */
  readonly join: (watcher: Watcher, interval: Duration.Input) => Effect.Effect<void, never, Scope.Scope>
}

const minInterval = Duration.seconds(1)

export const make = (client: StacksClient.Service, stackKey: string): StatePoll => {
  const watchers = new Set<Watcher>()
  let polling: Fiber.Fiber<unknown> | undefined

  /** Asks for the jobs of one request; one that fails takes nothing from the others. */
  const ask = (asked: ReadonlyMap<string, ReadonlyArray<Watcher>>, jobUuids: ReadonlyArray<string>) => {
    const tell = (f: (watcher: Watcher) => void) => {
      for (const jobUuid of jobUuids) asked.get(jobUuid)?.forEach(f)
    }
    return Effect.matchEffect(client.getJobStates({ stackKey, jobUuids }), {
      onFailure: (error) =>
        error.isRetryable
          ? Effect.logDebug("The states of watched jobs could not be asked for; asking again at the next poll", error)
          : Effect.sync(() => tell((watcher) => watcher.onFatal(error))),
      onSuccess: ({ states }) => Effect.sync(() => tell((watcher) => watcher.onState(stateIn(states, watcher.jobUuid))))
    })
  }

  const pollOnce = Effect.suspend(() => {
    const asked = Map.groupBy(watchers, ({ jobUuid }) => jobUuid)
    return Effect.forEach(Arr.chunksOf(Array.from(asked.keys()), MaxBatchSize), (jobUuids) => ask(asked, jobUuids), {
      concurrency: 5,
      discard: true
    })
  }).pipe(
    // The next poll is the retry.
    RetryPolicy.withPolicy(RetryPolicy.none)
  )

  return {
    join: (watcher, interval) =>
      Effect.acquireRelease(
        Effect.contextWith((context: Context.Context<never>) =>
          Effect.sync(() => {
            watchers.add(watcher)
            // It outlives the watcher who came first, hence a fiber of its own; the last one who leaves ends it.
            const between = Duration.max(Duration.fromInputUnsafe(interval), minInterval)
            polling ??= pollOnce.pipe(
              // On its own beat also after failures, which many pollers may have at one moment.
              Effect.repeat(Schedule.windowed(between)),
              Effect.delay(between),
              Effect.runForkWith(context)
            )
          })
        ),
        () =>
          Effect.suspend(() => {
            watchers.delete(watcher)
            const idle = watchers.size === 0 ? polling : undefined
            if (idle === undefined) return Effect.void
            polling = undefined
            return Fiber.interrupt(idle)
          })
      )
  }
}
