/** The metrics of agents that run elsewhere. */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Agent } from "../../AgentProvider.ts"

/** Labels: `phase`. */
const agents = Metric.gauge("stacksapi_agents", { description: "Agents that the provider lists" })

/** Labels: `result`. */
const creates = Metric.counter("stacksapi_agent_creates", {
  description: "Calls of the provider that create an agent",
  incremental: true
})

/** Labels: `result`. */
const deletes = Metric.counter("stacksapi_agent_deletes", {
  description: "Calls of the provider that delete an agent",
  incremental: true
})

/** Set for the process: its stacks share a provider. */
export const unavailable = Metric.gauge("stacksapi_agent_provider_unavailable", {
  description: "1 while the provider of agents is unavailable and nothing is reserved, else 0"
})

export const sweeps = Metric.counter("stacksapi_agent_sweeps", {
  description: "Searches for agents that no job needs any more",
  incremental: true
})

export const orphans = Metric.counter("stacksapi_agent_orphans", {
  description: "Agents that a sweep deleted because their jobs were over",
  incremental: true
})

export const createsBy = (result: string) => Metric.withAttributes(creates, { result })
export const deletesBy = (result: string) => Metric.withAttributes(deletes, { result })

const phases: ReadonlyArray<Agent["phase"]> = ["Pending", "Running", "Succeeded", "Failed"]

/** Sets the gauges of one stack's agents. Gauges of stacks with the same labels are added. */
export const agentGauges = (context: Context.Context<never>): ((agents: ReadonlyArray<Agent>) => void) => {
  const last = new Map<Agent["phase"], number>()
  return (all) => {
    for (const phase of phases) {
      let count = 0
      for (const agent of all) if (agent.phase === phase) count++
      const change = count - (last.get(phase) ?? 0)
      last.set(phase, count)
      if (change !== 0) Metric.withAttributes(agents, { phase }).modifyUnsafe(change, context)
    }
  }
}
