/** What is wrong with the stacks of a process: null where nothing is. */
import * as Duration from "effect/Duration"
import type { StackReport } from "../../HealthServer.ts"

/** Why the process should not go on. */
export const illness = (stacks: ReadonlyArray<StackReport>): string | null => {
  const failed = stacks.find(({ failure }) => failure !== null)
  return failed === undefined ? null : `stack ${failed.key} can't go on: ${failed.failure}`
}

/** Why no work should be expected of it now. */
export const unreadiness = (stacks: ReadonlyArray<StackReport>, maxPollAge: Duration.Duration): string | null => {
  if (stacks.length === 0) return "no stack is registered yet"
  const ill = illness(stacks)
  if (ill !== null) return ill
  const going = stacks.filter(({ phase }) => phase !== "stopped")
  if (going.length === 0) return "stopped"
  for (const { key, phase, secondsSincePoll } of going) {
    if (phase === "draining") return `stack ${key} is draining`
    if (secondsSincePoll === null) return `stack ${key} has not looked at its queue yet`
    if (secondsSincePoll > Duration.toSeconds(maxPollAge)) {
      return `stack ${key} last looked at its queue ${Math.round(secondsSincePoll)} s ago`
    }
  }
  return null
}
