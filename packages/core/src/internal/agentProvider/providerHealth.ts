/** Whether a provider fails: its last call failed with `Unavailable`, or its last listing failed. If so, the stack reserves nothing. */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { ProviderError } from "../../AgentProvider.ts"
import { messageOf } from "../messageOf.ts"
import * as Metrics from "./metrics.ts"

export interface ProviderHealth {
  /** Why the provider is unavailable; undefined while it is available. */
  readonly unavailable: () => string | undefined
  /** Records how a call ends. Logs when the provider becomes unavailable, and when it is available again. */
  readonly watch: <A>(call: Effect.Effect<A, ProviderError>) => Effect.Effect<A, ProviderError>
  /** Does the same for a listing, which no failure may end, and which must respond in time: without it, no agent can be watched. */
  readonly watchListing: <A>(
    listing: Effect.Effect<A, ProviderError>,
    timeout: Duration.Duration
  ) => Effect.Effect<A, { readonly message: string }>
}

export const make = (context: Context.Context<never>): ProviderHealth => {
  let reason: string | undefined
  Metrics.unavailable.updateUnsafe(0, context)
  const onAnswer = Effect.suspend(() => {
    if (reason === undefined) return Effect.void
    reason = undefined
    Metrics.unavailable.updateUnsafe(0, context)
    return Effect.logInfo("The provider of agents is available again")
  })
  const onUnavailable = (message: string) =>
    Effect.suspend(() => {
      const isKnown = reason !== undefined
      reason = message
      Metrics.unavailable.updateUnsafe(1, context)
      return isKnown
        ? Effect.void
        : Effect.logWarning(`No jobs are reserved until the provider of agents is available again: ${message}`)
    })
  return {
    unavailable: () => reason,
    watch: (call) =>
      call.pipe(
        Effect.tap(() => onAnswer),
        Effect.tapError(({ message, reason }) => (reason === "Unavailable" ? onUnavailable(message) : onAnswer))
      ),
    watchListing: (listing, timeout) =>
      listing.pipe(
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () => Effect.fail({ message: `no list of agents within ${Duration.format(timeout)}` })
        }),
        Effect.tap(() => onAnswer),
        Effect.tapCause((cause) =>
          Cause.hasInterruptsOnly(cause) ? Effect.void : onUnavailable(messageOf(Cause.squash(cause)))
        )
      )
  }
}
