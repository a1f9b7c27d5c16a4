/** Deletes agents, and checks that they are gone. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as AgentProvider from "../../AgentProvider.ts"
import type { AgentList } from "./agentList.ts"
import * as Metrics from "./metrics.ts"
import type { ProviderHealth } from "./providerHealth.ts"

/** A `delete` without a response is repeated after this time. */
const callTimeout = Duration.seconds(60)
/** How long the provider may take to delete an agent before `delete` is called again. */
const redeleteDelay = Duration.seconds(30)
const maxDelayMillis = 30_000

/** Calls `delete` once. Returns whether it succeeded. */
export const deleteOnce = (
  provider: AgentProvider.Service,
  health: ProviderHealth,
  agent: AgentProvider.AgentRef,
  reason: string
): Effect.Effect<boolean> =>
  health
    .watch(
      "delete",
      Effect.suspend(() => provider.delete(agent, reason))
    )
    .pipe(
      Effect.timeout(callTimeout),
      Effect.matchCauseEffect({
        onSuccess: () => Effect.as(Metric.update(Metrics.deletesBy("deleted"), 1), true),
        onFailure: (cause) =>
          Metric.update(Metrics.deletesBy("failed"), 1).pipe(
            Effect.andThen(Effect.logWarning(`Agent ${agent.name} could not be deleted, trying again`, cause)),
            Effect.as(false)
          )
      })
    )

/** Deletes an agent until a listing no longer contains it. */
export const deleteAgent = Effect.fnUntraced(function* (
  provider: AgentProvider.Service,
  health: ProviderHealth,
  list: AgentList,
  agent: AgentProvider.AgentRef,
  reason: string
): Effect.fn.Return<void> {
  for (let tries = 0; ; tries++) {
    const isRequested = yield* deleteOnce(provider, health, agent, reason)
    if (isRequested) {
      const isGone = yield* list.next.pipe(
        Effect.andThen(list.await(agent.name, (found) => found === undefined)),
        Effect.timeoutOption(redeleteDelay)
      )
      if (isGone._tag === "Some") return
    }
    yield* Effect.sleep(Math.min(maxDelayMillis, 1000 * 2 ** Math.min(10, tries)))
  }
})
