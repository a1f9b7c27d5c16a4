/** Which agents are alive. An agent that disconnects, or sends nothing for too long, loses its job. */
import * as Deadlines from "./deadlines.ts"
import { type Agent, endJob, type State } from "./state.ts"

/** An agent that sends nothing for this long is lost, by the service's rule since 2024. */
const lostAfterMillis = 3 * 60 * 1000

/** Removes the agents that are lost by now. */
export const advance = (state: State, now: number): void => {
  // The set is in the order of the agents' last requests, so the first one is lost first.
  for (const agent of state.liveAgents) {
    const lostAt = agent.lastSeen + lostAfterMillis
    if (lostAt > now) return
    remove(state, agent, "lost", lostAt)
  }
}

/** Removes an agent and its token, and ends its job with status -1, or as canceled if it was being canceled. */
export const remove = (state: State, agent: Agent, how: "disconnected" | "lost", now: number): void => {
  state.liveAgents.delete(agent)
  state.accessTokens.delete(agent.accessToken)
  if (agent.jobToken !== undefined) state.jobTokens.delete(agent.jobToken)
  agent.state = how
  const job = agent.job
  if (job === undefined) return
  Deadlines.clear(state, job)
  endJob(job, now)
  job.exitStatus = -1
  job.signalReason = "agent_stop"
  job.detail = how === "lost" ? "The agent was lost" : "The agent disconnected before its job had ended"
}

/** Records that an agent is alive. */
export const touch = (state: State, agent: Agent, now: number): void => {
  agent.lastSeen = now
  state.liveAgents.delete(agent)
  state.liveAgents.add(agent)
}
