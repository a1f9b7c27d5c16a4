/**
 * Whether a provider fails: its last listing failed, or the last call of another operation failed with `Unavailable` within a minute. If
 * so, the stack reserves nothing.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { ProviderError } from "../../AgentProvider.ts"
import { messageOf } from "../messageOf.ts"
import { monotonicMillis } from "../monotonicMillis.ts"
import * as Metrics from "./metrics.ts"

type Operation = "create" | "delete" | "refreshToken"

/** How long a failed call counts if there is no other call of its operation. Then the next job tries it again. */
const failureMillis = 60_000

export interface ProviderHealth {
  /** Why the provider is unavailable; undefined while it is available. */
  readonly unavailable: () => string | undefined
  /** Records how a call ends. Logs when the provider becomes unavailable, and when it is available again. */
  readonly watch: <A>(operation: Operation, call: Effect.Effect<A, ProviderError>) => Effect.Effect<A, ProviderError>
  /** Does the same for a listing, which no failure may end, and which must respond in time: without it, no agent can be watched. */
  readonly watchListing: <A>(
    listing: Effect.Effect<A, ProviderError>,
    timeout: Duration.Duration
  ) => Effect.Effect<A, { readonly message: string }>
}

export const make = (clock: Clock.Clock, context: Context.Context<never>): ProviderHealth => {
  /** By operation, why its last call failed, and until when that counts. */
  const failures = new Map<Operation | "list", { readonly message: string; readonly until: number }>()
  let isKnown = false
  Metrics.unavailable.updateUnsafe(0, context)

  const unavailable = () => {
    const now = monotonicMillis(clock)
    for (const { message, until } of failures.values()) if (until > now) return message
    return undefined
  }
  const report = Effect.suspend(() => {
    const message = unavailable()
    const wasKnown = isKnown
    isKnown = message !== undefined
    Metrics.unavailable.updateUnsafe(isKnown ? 1 : 0, context)
    if (wasKnown === isKnown) return Effect.void
    return isKnown
      ? Effect.logWarning(`No jobs are reserved until the provider of agents is available again: ${message}`)
      : Effect.logInfo("The provider of agents is available again")
  })
  const onAnswer = (operation: Operation | "list") =>
    Effect.suspend(() => {
      failures.delete(operation)
      return report
    })
  const onUnavailable = (operation: Operation | "list", message: string) =>
    Effect.suspend(() => {
      const until = operation === "list" ? Number.POSITIVE_INFINITY : monotonicMillis(clock) + failureMillis
      failures.set(operation, { message, until })
      return report
    })
  return {
    unavailable,
    watch: (operation, call) =>
      call.pipe(
        Effect.tap(() => onAnswer(operation)),
        Effect.tapError(({ message, reason }) =>
          reason === "Unavailable" ? onUnavailable(operation, message) : onAnswer(operation)
        )
      ),
    watchListing: (listing, timeout) =>
      listing.pipe(
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () => Effect.fail({ message: `no list of agents within ${Duration.format(timeout)}` })
        }),
        Effect.tap(() => onAnswer("list")),
        Effect.tapCause((cause) =>
          Cause.hasInterruptsOnly(cause) ? Effect.void : onUnavailable("list", messageOf(Cause.squash(cause)))
        )
      )
  }
}
