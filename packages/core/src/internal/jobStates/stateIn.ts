import type { JobState } from "../../StacksSchema.ts"

/** The state of a job in an answer; with an id like `constructor` too, which any object would have something for. */
export const stateIn = (states: Readonly<Record<string, JobState>>, jobUuid: string): JobState | undefined =>
  Object.hasOwn(states, jobUuid) ? states[jobUuid] : undefined
