/** The processes that belong to one process: those of its group, and on Linux also those that have left it. */
import * as Fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { errorCode } from "./errorDescription.ts"

/** The variable that tags a process. All descendants inherit it. */
export const tagName = "STACKSAPI_PROCESS"

/** A process, or with a negative number a group: as `kill` takes them. */
export type Target = number

/** What a search has found. */
export interface Found {
  readonly targets: ReadonlyArray<Target>
  /** False if the system had no file descriptor or memory for a part of the search: then there may be more. */
  readonly isComplete: boolean
}

const attempt = <A>(evaluate: () => A): A | undefined => Result.getOrElse(Result.try(evaluate), () => undefined)

/** Sends a signal. A target that is gone, or belongs to somebody else, is left alone. */
export const send = (target: Target, signal: NodeJS.Signals): void => void attempt(() => process.kill(target, signal))

const exists = (target: Target): boolean => attempt(() => process.kill(target, 0)) === true

/** So many processes are looked at before other fibers get their turn. */
const atOnce = 50

/** What the system says when it can't open or read a file at the moment. */
const isOutOfResources = (cause: unknown): boolean =>
  ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"].includes(errorCode(cause))

/** Finds what is alive of a group and of all that carry a tag. */
export const find = Effect.fnUntraced(function* (group: number, tag: string): Effect.fn.Return<Found> {
  let isComplete = true
  /** Undefined for a process that is gone, or that belongs to somebody else. */
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
    if (++looked % atOnce === 0) yield* Effect.yieldNow
    const stat = tryRead(() => Fs.readFileSync(`/proc/${pid}/stat`, "latin1"))
    if (stat === undefined) continue
    // The name, in parentheses, may hold anything.
    const [state, , pgrp] = stat.slice(stat.lastIndexOf(")") + 2).split(" ", 3)
    // A zombie has ended, even if nobody has reaped it yet.
    if (state === "Z" || state === "X") continue
    if (Number(pgrp) === group || tryRead(() => Fs.readFileSync(`/proc/${pid}/environ`, "latin1"))?.includes(entry)) {
      targets.push(Number(pid))
    }
  }
  // A part of the group was not seen, but the group can be signaled as a whole.
  return { targets: isComplete || targets.length > 0 ? targets : ofGroup(), isComplete }
})
