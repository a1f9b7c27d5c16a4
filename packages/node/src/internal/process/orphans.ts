/** Finds the orphans of a process: its group, and on Linux also descendants that have left the group. */
import * as Fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { errorCode } from "./errorDescription.ts"

/** The variable with a process's tag, which all descendants inherit. */
export const tagName = "STACKSAPI_PROCESS"

/** The id of a process, or the negative id of a group, like for `kill`. */
export type Target = number

/** The result of a search. */
export interface Found {
  readonly targets: ReadonlyArray<Target>
  /** False if the system lacked file descriptors or memory for a part of the search, so that there may be more. */
  readonly isComplete: boolean
}

const attempt = <A>(evaluate: () => A): A | undefined => Result.getOrElse(Result.try(evaluate), () => undefined)

/** Sends a signal. Ignores a target that is gone, or belongs to another user. */
export const send = (target: Target, signal: NodeJS.Signals): void => void attempt(() => process.kill(target, signal))

const exists = (target: Target): boolean => attempt(() => process.kill(target, 0)) === true

/** After this number of processes the search yields to other fibers. */
const yieldInterval = 50

/** Errors of a system that can't open or read a file now. */
const isOutOfResources = (cause: unknown): boolean =>
  ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"].includes(errorCode(cause))

/** Finds the live processes of a group, and those with a tag. */
export const find = Effect.fnUntraced(function* (group: number, tag: string): Effect.fn.Return<Found> {
  let isComplete = true
  /** Undefined for a process that is gone, or belongs to another user. */
  const tryRead = <A>(evaluate: () => A): A | undefined => {
    const result = Result.try(evaluate)
    if (Result.isSuccess(result)) return result.success
    if (isOutOfResources(result.failure)) isComplete = false
    return undefined
  }
  const ofGroup = () => (exists(-group) ? [-group] : [])
  const entries = process.platform === "linux" ? tryRead(() => Fs.readdirSync("/proc")) : undefined
  if (entries === undefined) return { targets: ofGroup(), isComplete }
  const targets: Array<Target> = []
  const entry = `${tagName}=${tag}\0`
  let looked = 0
  for (const pid of entries) {
    if (!/^\d+$/.test(pid)) continue
    if (++looked % yieldInterval === 0) yield* Effect.yieldNow
    const stat = tryRead(() => Fs.readFileSync(`/proc/${pid}/stat`, "latin1"))
    if (stat === undefined) continue
    // The name, in parentheses, may contain any character.
    const [state, , pgrp] = stat.slice(stat.lastIndexOf(")") + 2).split(" ", 3)
    // A zombie has ended, and is only not reaped yet.
    if (state === "Z" || state === "X") continue
    if (Number(pgrp) === group || tryRead(() => Fs.readFileSync(`/proc/${pid}/environ`, "latin1"))?.includes(entry)) {
      targets.push(Number(pid))
    }
  }
  // After an incomplete search, signals go to the group as a whole.
  return { targets: isComplete || targets.length > 0 ? targets : ofGroup(), isComplete }
})
