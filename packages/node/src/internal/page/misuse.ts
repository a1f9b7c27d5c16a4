/** What a caller of an emulator did wrong, such as unblocking a step without the values that it needs. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"

/** Handles such a mistake, which the emulator reports as a defect. Other defects stay defects. */
export const catchMisuse =
  <B, E2, R2>(handle: (problem: string) => Effect.Effect<B, E2, R2>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A | B, E | E2, R | R2> =>
    Effect.catchDefect(effect, (defect) =>
      Predicate.isError(defect) && defect.name === "StacksEmulatorMisuse"
        ? handle(defect.message.replace(/^StacksEmulator: /, ""))
        : Effect.die(defect)
    )
