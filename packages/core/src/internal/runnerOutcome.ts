/** What a runner returned, as an outcome that the service accepts. A runner in plain JavaScript may return any value. */
import * as Predicate from "effect/Predicate"
import type { JobOutcome } from "../JobRunner.ts"
import type { SavedOutcome } from "../JobStore.ts"
import { shown } from "./shown.ts"

export type Finished = Extract<JobOutcome, { readonly _tag: "Finished" }>

const maxExitStatus = 2 ** 31

export const stackError = (detail: string): SavedOutcome => ({ exitStatus: -1, detail, signalReason: "stack_error" })

/** The error for an outcome that can't be sent. */
const unsendable = (mistake: string): SavedOutcome => stackError(`The runner's outcome can't be sent: ${mistake}`)

/** What a job is finished with: this, or -1 with `stack_error` and the reason if the API does not accept it. */
export const sendable = (outcome: Finished): SavedOutcome => {
  const mistake = mistakeIn(outcome)
  return mistake === undefined ? outcome : unsendable(mistake)
}

/** The same for anything that a runner returned. */
export const sendableOutcome = (outcome: unknown): JobOutcome => {
  const tag: unknown = Predicate.hasProperty(outcome, "_tag") ? outcome._tag : outcome
  switch (tag) {
    case "AgentOwned":
      return { _tag: "AgentOwned" }
    case "Finished": {
      const { detail, exitStatus, signalReason } = sendable(outcome as Finished)
      return { _tag: "Finished", exitStatus, detail, signalReason }
    }
    case "Released":
      return { _tag: "Released", reason: String((outcome as { readonly reason: unknown }).reason) }
    default:
      return {
        _tag: "Finished",
        ...unsendable(`an outcome must be AgentOwned, Finished or Released, not ${shown(tag)}`)
      }
  }
}

const mistakeIn = ({ detail, exitStatus, signalReason }: Finished): string | undefined => {
  if (!Number.isInteger(exitStatus) || Math.abs(exitStatus) >= maxExitStatus) {
    return `exitStatus must be a whole number of 32 bits, not ${shown(exitStatus)}`
  }
  if (!Predicate.isString(detail)) return `detail must be a text, not ${shown(detail)}`
  if (signalReason === undefined || (Predicate.isString(signalReason) && signalReason !== "")) return undefined
  return `signalReason must be a text that is not empty, or left out, not ${shown(signalReason)}`
}
