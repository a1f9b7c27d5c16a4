/**
 * Lists the agents of one stack. One listing per interval serves all jobs, and wakes only the waiters whose test succeeds.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as AgentProvider from "../../AgentProvider.ts"
import * as Metrics from "./metrics.ts"
import type { ProviderHealth } from "./providerHealth.ts"

/** Tests what a listing shows of an agent. `listing` is the number of the listing. */
type Test = (agent: AgentProvider.Agent | undefined, listing: number) => boolean

interface Waiter {
  readonly name: string
  readonly test: Test
  readonly seen: Deferred.Deferred<AgentProvider.Agent | undefined>
}

export interface AgentList {
  /** Waits until the test of an agent succeeds. The agent is undefined if the listing does not contain it. */
  readonly await: (name: string, test: Test) => Effect.Effect<AgentProvider.Agent | undefined>
  /** All agents of the last listing; undefined before the first one. */
  readonly agents: () => ReadonlyMap<string, AgentProvider.Agent> | undefined
  /** The number of the last listing that has started. Listings with greater numbers start later. */
  readonly lastStarted: () => number
  /** Waits for a listing that starts after this call. */
  readonly next: Effect.Effect<void>
}

/** Lists agents while the scope is open. */
export const make = Effect.fnUntraced(function* (
  provider: AgentProvider.Service,
  stackKey: string,
  interval: Duration.Duration,
  health: ProviderHealth
): Effect.fn.Return<AgentList, never, Scope.Scope> {
  const context = yield* Effect.context<never>()
  const gauges = Metrics.agentGauges(context)
  const waiters = new Set<Waiter>()
  let lastStarted = 0
  let listed: { readonly agents: Map<string, AgentProvider.Agent>; readonly number: number } | undefined

  const check = (waiter: Waiter, agent: AgentProvider.Agent | undefined, listing: number) => {
    if (!waiter.test(agent, listing)) return
    waiters.delete(waiter)
    Deferred.doneUnsafe(waiter.seen, Exit.succeed(agent))
  }

  const listOnce = Effect.gen(function* () {
    const number = ++lastStarted
    const agents = yield* health.watchListing(
      provider.list(stackKey),
      // A listing without a response must not stop the next ones.
      Duration.max(Duration.seconds(30), interval)
    )
    listed = { agents: new Map(agents.map((agent) => [agent.name, agent])), number }
    gauges(agents)
    for (const waiter of Array.from(waiters)) check(waiter, listed.agents.get(waiter.name), number)
  }).pipe(Effect.catchCause((cause) => Effect.logDebug(`The agents of ${stackKey} could not be listed`, cause)))

  const onChange = (agent: AgentProvider.Agent) =>
    Effect.sync(() => {
      listed?.agents.set(agent.name, agent)
      // A change is newer than any listing.
      for (const waiter of Array.from(waiters)) {
        if (waiter.name === agent.name) check(waiter, agent, Number.POSITIVE_INFINITY)
      }
    })

  yield* Effect.addFinalizer(() => Effect.sync(() => gauges([])))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(listOnce, Effect.sleep(interval))))
  if (provider.changes !== undefined) {
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.suspend(() => Stream.runForEach(provider.changes?.(stackKey) ?? Stream.never, onChange)).pipe(
          Effect.catchCause((cause) =>
            Effect.logDebug(`The stream of changes of the agents of ${stackKey} failed`, cause)
          ),
          // Listings continue in the meantime.
          Effect.andThen(Effect.sleep("5 seconds"))
        )
      )
    )
  }

  const awaitAgent = (name: string, test: Test) =>
    Effect.suspend(() => {
      if (listed !== undefined) {
        const agent = listed.agents.get(name)
        if (test(agent, listed.number)) return Effect.succeed(agent)
      }
      const waiter: Waiter = { name, test, seen: Deferred.makeUnsafe() }
      waiters.add(waiter)
      return Effect.ensuring(
        Deferred.await(waiter.seen),
        Effect.sync(() => void waiters.delete(waiter))
      )
    })

  return {
    await: awaitAgent,
    agents: () => listed?.agents,
    lastStarted: () => lastStarted,
    next: Effect.suspend(() => {
      const last = lastStarted
      return Effect.asVoid(awaitAgent("", (_, listing) => listing > last))
    })
  }
})
