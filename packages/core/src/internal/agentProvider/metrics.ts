/** What is measured of agents that run elsewhere. */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Agent } from "../../AgentProvider.ts"

const agents = Metric.gauge("stacksapi_agents", { description: "Agents that the provider lists, by phase" })

const creates = Metric.counter("stacksapi_agent_creates", {
  description: "Calls that create an agent, by result",
  incremental: true
})

const deletes = Metric.counter("stacksapi_agent_deletes", {
  description: "Calls that delete an agent, by result",
  incremental: true
})

export const sweeps = Metric.counter("stacksapi_agent_sweeps", {
  description: "Searches for agents that no job needs any more",
  incremental: true
})

export const orphans = Metric.counter("stacksapi_agent_orphans", {
  description: "Agents that were deleted because their job was over and the stack did not have it",
  incremental: true
})

export const createsBy = (result: string) => Metric.withAttributes(creates, { result })
export const deletesBy = (result: string) => Metric.withAttributes(deletes, { result })

const phases: ReadonlyArray<Agent["phase"]> = ["Pending", "Running", "Succeeded", "Failed"]

/** Sets the gauges of one stack's agents. Those of stacks that are measured together add up. */
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
