import * as Effect from "effect/Effect"
import type { StackState } from "./stackState.ts"

/** Lets the loops look for work after so many milliseconds. */
export const wakeIn = (state: StackState, millis: number): Effect.Effect<void> =>
  Number.isFinite(millis)
    ? Effect.sync(() => state.wake()).pipe(
        // Whole milliseconds: a shorter sleep may end before it began, by rounding.
        Effect.delay(Math.max(0, Math.ceil(millis))),
        Effect.forkIn(state.dependencies.scope, { startImmediately: true }),
        Effect.asVoid
      )
    : Effect.void
