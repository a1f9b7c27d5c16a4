/** The agents of each stack. They are listed while an attached stack or a run uses them. */
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as AgentProvider from "../../AgentProvider.ts"
import * as AgentList from "./agentList.ts"
import type { ProviderHealth } from "./providerHealth.ts"
import type { Sweep } from "./sweep.ts"

export interface Fleet {
  readonly list: AgentList.AgentList
  readonly scope: Scope.Closeable
  /** The names of the agents that runs watch. */
  readonly watched: Set<string>
  /** When this process has created agents, by their names, in monotonic milliseconds. */
  readonly created: Map<string, number>
  /** Agents that wait for capacity while their jobs wait without a run: their names, with the ids of the jobs. */
  readonly pending: Map<string, string>
  users: number
  /** The sweep of the attached stack, if there is one. */
  sweep: Sweep | undefined
}

/** Ends the watch of an agent. Of an agent that waits for capacity, the fleet keeps what it knows until the agent is gone. */
export const unwatch = ({ created, list, pending, watched }: Fleet, agentName: string): void => {
  watched.delete(agentName)
  if (!pending.has(agentName)) created.delete(agentName)
  const listed = list.agents()
  for (const name of pending.keys()) {
    if (watched.has(name) || listed?.has(name) !== false) continue
    pending.delete(name)
    created.delete(name)
  }
}

export interface Fleets {
  readonly get: (stackKey: string) => Fleet | undefined
  /** Lists the agents of a stack until the scope closes. */
  readonly join: (stackKey: string) => Effect.Effect<Fleet, never, Scope.Scope>
}

export const make = Effect.fnUntraced(function* (
  provider: AgentProvider.Service,
  health: ProviderHealth,
  interval: Duration.Duration,
  context: Context.Context<never>
): Effect.fn.Return<Fleets> {
  const fleets = new Map<string, Fleet>()
  const oneAtATime = yield* Semaphore.make(1)

  const enter = Effect.fnUntraced(function* (stackKey: string) {
    const known = fleets.get(stackKey)
    if (known !== undefined) {
      known.users++
      return known
    }
    const scope = Scope.makeUnsafe()
    const list = yield* AgentList.make(provider, stackKey, interval, health).pipe(
      Scope.provide(scope),
      Effect.provideContext(context)
    )
    const fleet: Fleet = {
      list,
      scope,
      watched: new Set(),
      created: new Map(),
      pending: new Map(),
      users: 1,
      sweep: undefined
    }
    fleets.set(stackKey, fleet)
    return fleet
  })

  const leave = (stackKey: string, fleet: Fleet) =>
    Effect.suspend(() => {
      fleet.users--
      if (fleet.users > 0) return Effect.void
      fleets.delete(stackKey)
      return Scope.close(fleet.scope, Exit.void)
    })

  return {
    get: (stackKey) => fleets.get(stackKey),
    join: (stackKey) => Effect.acquireRelease(oneAtATime.withPermit(enter(stackKey)), (fleet) => leave(stackKey, fleet))
  }
})
