/**
 * Deletes agents whose jobs are over:
 *
 * - stray agents, which no run watches, of jobs that the stack does not have. Their jobs ended while no process of the stack was
 *   running, or while the job waited without a run;
 * - watched agents that do not end within a minute or two after their jobs.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as AgentProvider from "../../AgentProvider.ts"
import type { AttachedStack } from "../../JobRunner.ts"
import { isFinal } from "../../StacksSchema.ts"
import { monotonicMillis } from "../monotonicMillis.ts"
import { isUsable } from "../stack/jobId.ts"
import type { AgentList } from "./agentList.ts"
import { isEnded } from "./agentRun.ts"
import { deleteOnce } from "./deleteAgent.ts"
import * as Metrics from "./metrics.ts"
import type { ProviderHealth } from "./providerHealth.ts"

/** How often the state of a stray agent's job is read until it is final. */
const askInterval = Duration.toMillis("1 minute")
/** How long the provider may take to delete an agent before `delete` is called again. */
const redeleteDelay = Duration.toMillis("10 seconds")
/** For how long a result is reused, because `isPending` is called for many jobs at once. */
const memoMillis = 50

export interface Sweep {
  /** Whether agents that are about to be deleted may still use capacity, or no sweep has run yet. */
  readonly isPending: () => boolean
  /** Sweeps after every listing. */
  readonly loop: Effect.Effect<never>
}

export const make = (
  clock: Clock.Clock,
  provider: AgentProvider.Service,
  health: ProviderHealth,
  list: AgentList,
  stack: AttachedStack,
  /** Whether a run watches the agent. */
  isWatched: (name: string) => boolean
): Sweep => {
  let hasLooked = false
  let memo = { moment: Number.NaN, hasNewStray: false }
  /** For each agent by name, when its job's state was read and was not final. */
  const asked = new Map<string, number>()
  /** The watched agents, by name, whose jobs were over when their states were last read. */
  let overdue: ReadonlySet<string> = new Set()
  let lastAskedForWatched = monotonicMillis(clock)
  /** For each agent that is being deleted, by name, when `delete` was last called. */
  const deleting = new Map<string, number>()

  const isStray = ({ jobUuid, name }: AgentProvider.Agent) => !isWatched(name) && !stack.hasJob(jobUuid)

  const ask = Effect.fnUntraced(function* (strays: ReadonlyArray<AgentProvider.Agent>, now: number) {
    yield* Metric.update(Metrics.sweeps, 1)
    const states = yield* stack.states(strays.map(({ jobUuid }) => jobUuid).filter(isUsable))
    for (const { jobUuid, name } of strays) {
      // Without the id of a job, nothing is known about an agent: it stays.
      if (!isUsable(jobUuid)) asked.set(name, now)
      if (!states.has(jobUuid)) continue
      const state = states.get(jobUuid)
      // An unknown state does not count as final.
      if (state !== undefined && isFinal(state)) deleting.set(name, Number.NEGATIVE_INFINITY)
      else asked.set(name, now)
    }
  })

  const refOf = ({ jobUuid, name }: AgentProvider.Agent) => ({ stackKey: stack.stackKey, jobUuid, name })

  /** Deletes watched agents whose jobs were over a minute ago. Their runs end when they are gone. */
  const deleteOverdue = Effect.fnUntraced(function* (agents: ReadonlyMap<string, AgentProvider.Agent>, now: number) {
    if (lastAskedForWatched + askInterval > now) return
    lastAskedForWatched = now
    const watched = Array.from(agents.values()).filter((agent) => !isEnded(agent) && isWatched(agent.name))
    if (watched.length === 0) return
    const states = yield* stack.states(watched.map(({ jobUuid }) => jobUuid))
    const over = watched.filter(({ jobUuid }) => {
      const state = states.get(jobUuid)
      return state !== undefined && isFinal(state)
    })
    const late = over.filter(({ name }) => overdue.has(name))
    overdue = new Set(over.map(({ name }) => name))
    yield* Effect.forEach(
      late,
      (agent) => deleteOnce(provider, health, refOf(agent), "its job is over, and it does not end"),
      { concurrency: 4, discard: true }
    )
  })

  const sweep = Effect.gen(function* () {
    yield* list.next
    const agents = list.agents() ?? new Map<string, AgentProvider.Agent>()
    const now = monotonicMillis(clock)
    for (const name of asked.keys()) if (!agents.has(name)) asked.delete(name)
    for (const name of deleting.keys()) if (!agents.has(name)) deleting.delete(name)
    const strays = Array.from(agents.values()).filter(isStray)
    const due = strays.filter(
      ({ name }) => !deleting.has(name) && (asked.get(name) ?? Number.NEGATIVE_INFINITY) + askInterval <= now
    )
    if (due.length > 0) yield* ask(due, now)
    hasLooked ||= strays.every(({ name }) => deleting.has(name) || asked.has(name))
    const deletable = strays.filter(
      ({ name }) => (deleting.get(name) ?? Number.POSITIVE_INFINITY) + redeleteDelay <= now
    )
    yield* Effect.forEach(
      deletable,
      (agent) => {
        // If the stack has got the job in the meantime, the job needs its agent.
        if (!isStray(agent)) return Effect.sync(() => void deleting.delete(agent.name))
        const isFirst = deleting.get(agent.name) === Number.NEGATIVE_INFINITY
        deleting.set(agent.name, now)
        return Effect.andThen(
          isFirst ? Metric.update(Metrics.orphans, 1) : Effect.void,
          deleteOnce(provider, health, refOf(agent), "its job is over")
        )
      },
      { concurrency: 4, discard: true }
    )
    yield* deleteOverdue(agents, now)
  })

  /** Whether there is a stray agent that the last sweep has not seen. */
  const hasNewStray = () =>
    Array.from(list.agents()?.values() ?? []).some((agent) => !asked.has(agent.name) && isStray(agent))

  return {
    isPending: () => {
      if (!hasLooked || deleting.size > 0) return true
      const moment = Math.floor(monotonicMillis(clock) / memoMillis)
      if (memo.moment !== moment) memo = { moment, hasNewStray: hasNewStray() }
      return memo.hasNewStray
    },
    loop: Effect.forever(Effect.ignoreCause(sweep))
  }
}
