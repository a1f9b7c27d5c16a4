/** Somebody who counts attempts. The client itself counts nothing: metrics would make it larger for everybody. */
import * as Context from "effect/Context"
import type { Operation } from "../StacksApi.ts"

/** Called when an attempt is about to be sent; the first one of a call is 1. */
export type Meter = (operation: Operation, attempt: number) => void

export const CurrentMeter: Context.Reference<Meter | undefined> = Context.Reference("@stacksapi/core/internal/Meter", {
  defaultValue: (): Meter | undefined => undefined
})
