/** Advances the state of the emulator to a time. */
import * as AgentLiveness from "./agentLiveness.ts"
import * as Deadlines from "./deadlines.ts"
import * as Dependencies from "./dependencies.ts"
import * as State from "./state.ts"

/** Ends reservations that have lapsed, times jobs out, removes lost agents, and updates the jobs that depend on others. Call it before reading jobs. */
export const advance = (state: State.State, now: number): void => {
  State.lapse(state, now)
  Deadlines.advance(state, now)
  AgentLiveness.advance(state, now)
  Dependencies.advance(state, now)
}
