import * as Effect from "effect/Effect"
import type { StackState } from "./stackState.ts"

/** Wakes the loops after a number of milliseconds. */
export const wakeIn = (state: StackState, millis: number): Effect.Effect<void> =>
  Number.isFinite(millis)
    ? Effect.sync(() => state.wake()).pipe(
        // Round up to whole milliseconds, because a timer that is rounded down ends too early.
        Effect.delay(Math.max(0, Math.ceil(millis))),
        Effect.forkIn(state.dependencies.scope, { startImmediately: true }),
        Effect.asVoid
      )
    : Effect.void
