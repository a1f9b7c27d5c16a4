/** The end of a job in a stack. */
import * as Effect from "effect/Effect"
import type { StackEvent } from "../../StackEvent.ts"
import type { JobRecord } from "./jobTable.ts"
import type { StackState } from "./stackState.ts"

/** Ends a job: removes it from the table and the store, and emits the event with the reason. */
export const settle = (state: StackState, record: JobRecord, event: StackEvent): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { emit, notifications } = state.dependencies
    state.remove(record)
    return emit(event).pipe(
      Effect.tap(() => Effect.sync(() => state.wake())),
      Effect.andThen(notifications.release(record.job.id)),
      Effect.andThen(removeSaved(state, [record.job.id])),
      Effect.andThen(Effect.sync(() => state.openIfDrained()))
    )
  })

/** Removes jobs from the store. If that fails, the next process finds that it does not have the jobs, and removes them. */
export const removeSaved = (state: StackState, jobUuids: ReadonlyArray<string>): Effect.Effect<void> => {
  const { settings, store } = state.dependencies
  if (store === undefined || jobUuids.length === 0) return Effect.void
  return Effect.catchCause(store.remove(settings.key, jobUuids), (cause) =>
    Effect.logWarning(`${jobUuids.length} jobs could not be removed from the job store`, cause)
  )
}
