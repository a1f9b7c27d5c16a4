/** Counts and times attempts. The client has no metrics of its own, because they would make every bundle larger. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Operation } from "../StacksApi.ts"
import type { StacksError } from "../StacksError.ts"

/** Measures an attempt, which it returns. The first attempt of a call is 1. */
export type Meter = <A>(
  operation: Operation,
  attempt: number,
  response: Effect.Effect<A, StacksError>
) => Effect.Effect<A, StacksError>

export const CurrentMeter: Context.Reference<Meter | undefined> = Context.Reference("@stacksapi/core/internal/Meter", {
  defaultValue: (): Meter | undefined => undefined
})
