/** Whether a provider fails: its last call failed with `Unavailable`. If so, the stack reserves nothing. */
import * as Effect from "effect/Effect"
import type { ProviderError } from "../../AgentProvider.ts"

export interface ProviderHealth {
  readonly isUnavailable: () => boolean
  /** Records how a call ends. Logs when the provider becomes unavailable, and when it is available again. */
  readonly watch: <A>(call: Effect.Effect<A, ProviderError>) => Effect.Effect<A, ProviderError>
}

export const make = (): ProviderHealth => {
  let isUnavailable = false
  const onAnswer = Effect.suspend(() => {
    if (!isUnavailable) return Effect.void
    isUnavailable = false
    return Effect.logInfo("The provider of agents is available again")
  })
  const onFailure = ({ message, reason }: ProviderError) =>
    Effect.suspend(() => {
      if (reason !== "Unavailable") return onAnswer
      if (isUnavailable) return Effect.void
      isUnavailable = true
      return Effect.logWarning(`No jobs are reserved until the provider of agents is available again: ${message}`)
    })
  return {
    isUnavailable: () => isUnavailable,
    watch: (call) =>
      call.pipe(
        Effect.tap(() => onAnswer),
        Effect.tapError(onFailure)
      )
  }
}
