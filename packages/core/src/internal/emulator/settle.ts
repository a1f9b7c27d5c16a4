/** What time has done to the jobs. Done before anything looks at them. */
import * as Partings from "./partings.ts"
import * as State from "./state.ts"
import * as Waiting from "./waiting.ts"

/** Lists the jobs whose reservations have lapsed, or whose wait is over, and ends those of lost agents. */
export const settle = (state: State.State, now: number): void => {
  State.lapse(state, now)
  Partings.settle(state, now)
  Waiting.settle(state, now)
}
