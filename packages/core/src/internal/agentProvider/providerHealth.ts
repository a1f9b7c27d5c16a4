/** Whether a provider fails: its last call failed with `Unavailable`. If so, the stack reserves nothing. */
import * as Effect from "effect/Effect"
import type { ProviderError } from "../../AgentProvider.ts"

export interface ProviderHealth {
  readonly isUnavailable: () => boolean
  /** Records how a call ends. */
  readonly watch: <A>(call: Effect.Effect<A, ProviderError>) => Effect.Effect<A, ProviderError>
}

export const make = (): ProviderHealth => {
  let isUnavailable = false
  const record = (value: boolean) =>
    Effect.sync(() => {
      isUnavailable = value
    })
  return {
    isUnavailable: () => isUnavailable,
    watch: (call) =>
      call.pipe(
        Effect.tap(() => record(false)),
        Effect.tapError(({ reason }) => record(reason === "Unavailable"))
      )
  }
}
