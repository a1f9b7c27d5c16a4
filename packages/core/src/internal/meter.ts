/** Counts attempts. The client has no metrics of its own, because they would make every bundle larger. */
import * as Context from "effect/Context"
import type { Operation } from "../StacksApi.ts"

/** Called before an attempt is sent. The first attempt of a call is 1. */
export type Meter = (operation: Operation, attempt: number) => void

export const CurrentMeter: Context.Reference<Meter | undefined> = Context.Reference("@stacksapi/core/internal/Meter", {
  defaultValue: (): Meter | undefined => undefined
})
