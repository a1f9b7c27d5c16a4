/** Deletes agents that no job needs any more: those of jobs that ended while no process of the stack was there. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as AgentProvider from "../../AgentProvider.ts"
import type { AttachedStack } from "../../JobRunner.ts"
import { isFinal } from "../../StacksSchema.ts"
import type { AgentList } from "./agentList.ts"
import { deleteOnce } from "./deleteAgent.ts"
import * as Metrics from "./metrics.ts"
import type { ProviderHealth } from "./providerHealth.ts"

const interval = Duration.minutes(1)

/** Sweeps after the first listing, and then every minute. */
export const sweepLoop = (
  provider: AgentProvider.Service,
  health: ProviderHealth,
  list: AgentList,
  stack: AttachedStack,
  /** Whether a run watches the agent. */
  isWatched: (name: string) => boolean
): Effect.Effect<never> => {
  const isFree = ({ jobUuid, name }: AgentProvider.Agent) => !isWatched(name) && !stack.hasJob(jobUuid)

  const sweep = Effect.gen(function* () {
    yield* list.next
    yield* Metric.update(Metrics.sweeps, 1)
    const free = Array.from(list.agents()?.values() ?? []).filter(isFree)
    if (free.length === 0) return
    const states = yield* stack.states(free.map(({ jobUuid }) => jobUuid))
    yield* Effect.forEach(
      free,
      (agent) => {
        const state = states.get(agent.jobUuid)
        // A job that the stack got meanwhile needs its agent.
        if (state === undefined || !isFinal(state) || !isFree(agent)) return Effect.void
        const { jobUuid, name } = agent
        return deleteOnce(provider, health, { stackKey: stack.stackKey, jobUuid, name }, `its job is ${state}`).pipe(
          Effect.andThen(Metric.update(Metrics.orphans, 1))
        )
      },
      { concurrency: 4, discard: true }
    )
  })
  return Effect.forever(Effect.andThen(Effect.ignoreCause(sweep), Effect.sleep(interval)))
}
