/** Advances the state of the emulator to a time. */
import * as AgentLiveness from "./agentLiveness.ts"
import * as Deadlines from "./deadlines.ts"
import * as Dependencies from "./dependencies.ts"
import * as State from "./state.ts"
import * as Steps from "./steps.ts"

/** Ends reservations that have lapsed, times jobs out, removes lost agents, and updates jobs and steps that wait for others. Call it before reading jobs. */
export const advance = (state: State.State, now: number): void => {
  State.lapse(state, now)
  Deadlines.advance(state, now)
  AgentLiveness.advance(state, now)
  Dependencies.advance(state, now)
  Steps.advance(state, now)
}
