/** One poll of job states for all watchers of a stack's jobs. It runs only while there are watchers. */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as RetryPolicy from "../../RetryPolicy.ts"
import type * as StacksClient from "../../StacksClient.ts"
import type { FatalError, StacksError } from "../../StacksError.ts"
import type { JobState } from "../../StacksSchema.ts"
import { readStates } from "./readStates.ts"

/** A watcher of one job. The poll calls both functions, which must return at once. */
interface Watcher {
  readonly jobUuid: string
  /** Called with each response, changed or not; undefined for an unknown id. */
  readonly onState: (state: JobState | undefined) => void
  /** Called on a fatal failure. The poll continues. */
  readonly onFatal: (error: FatalError) => void
}

export interface StatePoll {
  /** Adds a watcher until the scope closes. */
  readonly add: (watcher: Watcher, interval: Duration.Input) => Effect.Effect<void, never, Scope.Scope>
}

const minInterval = Duration.seconds(1)

export const make = (client: StacksClient.Service, stackKey: string): StatePoll => {
  const watchers = new Set<Watcher>()
  let polling: Fiber.Fiber<unknown> | undefined

  const pollOnce = Effect.gen(function* () {
    const watched = Map.groupBy(watchers, ({ jobUuid }) => jobUuid)
    const fail = (jobUuid: string, error: StacksError) => {
      if (!error.isRetryable) watched.get(jobUuid)?.forEach((watcher) => void watcher.onFatal(error))
    }
    const { failed, offenders, states } = yield* readStates(client, stackKey, Array.from(watched.keys()))
    for (const [jobUuid, state] of states) watched.get(jobUuid)?.forEach((watcher) => void watcher.onState(state))
    for (const { error, item } of offenders) fail(item, error)
    for (const { error, items } of failed) {
      yield* Effect.logDebug("The states of watched jobs could not be read; the next poll retries", error)
      for (const jobUuid of items) fail(jobUuid, error)
    }
  }).pipe(
    // The next poll is the retry.
    RetryPolicy.withPolicy(RetryPolicy.none)
  )

  return {
    add: (watcher, interval) =>
      Effect.acquireRelease(
        Effect.contextWith((context: Context.Context<never>) =>
          Effect.sync(() => {
            watchers.add(watcher)
            // The poll outlives its first watcher, so it has a fiber of its own. The last watcher interrupts it.
            const between = Duration.max(Duration.fromInputUnsafe(interval), minInterval)
            polling ??= pollOnce.pipe(
              // It keeps its schedule after failures, so that pollers that fail at the same time stay apart.
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
