/** Advances the state of the emulator to a time. */
import * as AgentLiveness from "./agentLiveness.ts"
import * as Dependencies from "./dependencies.ts"
import * as State from "./state.ts"

/** Ends reservations that have lapsed, removes lost agents, and updates the jobs that depend on others. Call it before reading jobs. */
export const advance = (state: State.State, now: number): void => {
  State.lapse(state, now)
  AgentLiveness.advance(state, now)
  Dependencies.advance(state, now)
}
