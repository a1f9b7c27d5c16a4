/** How agents leave: they say so, or nothing is heard of them any more. Either ends what they were running. */
import type { Agent, State } from "./state.ts"

/** An agent whose last sign of life was so long ago is lost, as the service has it since 2024. */
const lostAfterMillis = 3 * 60 * 1000

/** Parts with the agents that are lost by now. Done before anything looks at the jobs. */
export const settle = (state: State, now: number): void => {
  // In the order of their signs of life: the first is the next to be lost.
  for (const agent of state.presentAgents) {
    const lostAt = agent.lastSeen + lostAfterMillis
    if (lostAt > now) return
    part(state, agent, "lost", lostAt)
  }
}

/** Ends an agent's time, its token and its job: the job has status -1, unless it was being canceled. */
export const part = (state: State, agent: Agent, how: "disconnected" | "lost", now: number): void => {
  state.presentAgents.delete(agent)
  state.accessTokens.delete(agent.accessToken)
  agent.state = how
  const job = agent.job
  if (job === undefined) return
  agent.job = undefined
  job.state = job.state === "canceling" ? "canceled" : "finished"
  job.finishedAt = now
  job.exitStatus = -1
  job.signalReason = "agent_stop"
  job.detail = how === "lost" ? "The agent was lost" : "The agent disconnected before its job had ended"
}

/** A sign of life. */
export const see = (state: State, agent: Agent, now: number): void => {
  agent.lastSeen = now
  state.presentAgents.delete(agent)
  state.presentAgents.add(agent)
}
