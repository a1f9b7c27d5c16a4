/** Whether a provider fails: its last call failed with `Unavailable`. If so, the stack reserves nothing. */
import * as Effect from "effect/Effect"
import type { ProviderError } from "../../AgentProvider.ts"

export interface ProviderHealth {
  readonly isInTrouble: () => boolean
  /** Records how a call ends. */
  readonly watch: <A>(call: Effect.Effect<A, ProviderError>) => Effect.Effect<A, ProviderError>
}

export const make = (): ProviderHealth => {
  let isInTrouble = false
  const note = (isTrouble: boolean) =>
    Effect.sync(() => {
      isInTrouble = isTrouble
    })
  return {
    isInTrouble: () => isInTrouble,
    watch: (call) =>
      call.pipe(
        Effect.tap(() => note(false)),
        Effect.tapError(({ reason }) => note(reason === "Unavailable"))
      )
  }
}
