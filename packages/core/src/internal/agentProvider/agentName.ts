/** Names of agents that every kind of provider accepts. */
import { digest } from "../digest.ts"

const maxLength = 63

/** The job's id stays readable. The hash distinguishes the agents of two stacks, and ids that differ only in removed characters. */
export const agentName = (stackKey: string, jobUuid: string): string => {
  const hash = digest(JSON.stringify([stackKey, jobUuid])).slice(-12)
  const readable = jobUuid.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")
  const shown = readable.slice(0, maxLength - "agent--".length - hash.length).replaceAll(/^-+|-+$/g, "")
  return `agent-${shown}-${hash}`
}
