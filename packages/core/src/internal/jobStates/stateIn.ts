import type { JobState } from "../../StacksSchema.ts"

/** The state of a job in a response. It looks at own properties only, because an id may be `constructor`. */
export const stateIn = (states: Readonly<Record<string, JobState>>, jobUuid: string): JobState | undefined =>
  Object.hasOwn(states, jobUuid) ? states[jobUuid] : undefined
