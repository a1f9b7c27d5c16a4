/** Numbers from 1 on, each held by one at a time; a free one is used again, the lowest first. */
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
