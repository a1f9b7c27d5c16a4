/** The processes that belong to one process: those of its group, and on Linux also those that have left it. */
import * as Fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"

/** The variable that marks a process and, as it is inherited, all that come from it. */
export const markName = "STACKSAPI_PROCESS"

/** A process, or with a negative number a group: as `kill` takes them. */
export type Target = number

const attempt = <A>(evaluate: () => A): A | undefined => Result.getOrElse(Result.try(evaluate), () => undefined)

/** Sends a signal; a target that is gone, or is somebody else's, is left alone. */
export const send = (target: Target, signal: NodeJS.Signals): void => void attempt(() => process.kill(target, signal))

const exists = (target: Target): boolean => attempt(() => process.kill(target, 0)) === true

/** So many processes are looked at without letting others have their turn. */
const atOnce = 50

/** What is alive of a group and of those that carry a mark. */
export const find = Effect.fnUntraced(function* (group: number, mark: string): Effect.fn.Return<ReadonlyArray<Target>> {
  const entries = process.platform === "linux" ? attempt(() => Fs.readdirSync("/proc")) : undefined
  if (entries === undefined) return exists(-group) ? [-group] : []
  const found: Array<Target> = []
  const entry = `${markName}=${mark}\0`
  let looked = 0
  for (const pid of entries) {
    if (!/^\d+$/.test(pid)) continue
    if (++looked % atOnce === 0) yield* Effect.yieldNow
    const stat = attempt(() => Fs.readFileSync(`/proc/${pid}/stat`, "latin1"))
    if (stat === undefined) continue
    // The name, in parentheses, may hold anything.
    const [state, , pgrp] = stat.slice(stat.lastIndexOf(")") + 2).split(" ", 3)
    // A zombie has ended, whoever is to take note of it.
    if (state === "Z" || state === "X") continue
    if (Number(pgrp) === group || attempt(() => Fs.readFileSync(`/proc/${pid}/environ`, "latin1"))?.includes(entry)) {
      found.push(Number(pid))
    }
  }
  return found
})
