/** The end of a job in a stack. */
import * as Effect from "effect/Effect"
import type { StackEvent } from "../../StackEvent.ts"
import type { JobRecord } from "./jobTable.ts"
import type { StackState } from "./stackState.ts"

/** Nothing is left to do for a job: it leaves the table and the store, and the event says why. */
export const settle = (state: StackState, record: JobRecord, event: StackEvent): Effect.Effect<void> =>
  Effect.suspend(() => {
    // At one go: whoever looks in between must not find half of it.
    state.remove(record)
    return state.dependencies.emit(event).pipe(
      Effect.andThen(state.dependencies.notifications.release(record.job.id)),
      Effect.andThen(removeSaved(state, [record.job.id]))
    )
  })

/** Removes jobs from the store. A job that can't be removed is found not to be this stack's after the next start. */
export const removeSaved = (state: StackState, jobUuids: ReadonlyArray<string>): Effect.Effect<void> =>
  jobUuids.length === 0
    ? Effect.void
    : Effect.catchCause(state.dependencies.store.remove(state.dependencies.settings.key, jobUuids), (cause) =>
        Effect.logWarning(`${jobUuids.length} jobs could not be removed from the job store`, cause)
      )
