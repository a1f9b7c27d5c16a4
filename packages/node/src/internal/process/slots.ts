/** Slot numbers from 1 on. Each is held by one agent at a time. The lowest free one is used first. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export const make = (): Effect.Effect<number, never, Scope.Scope> => {
  const held = new Set<number>()
  return Effect.acquireRelease(
    Effect.sync(() => {
      let slot = 1
      while (held.has(slot)) slot++
      held.add(slot)
      return slot
    }),
    (slot) => Effect.sync(() => void held.delete(slot))
  )
}
