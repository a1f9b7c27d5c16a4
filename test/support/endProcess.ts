/** Ends processes that a test started. */
import type { ChildProcess } from "node:child_process"
import { Effect } from "effect"

/** Ends a process, and waits until it has ended. */
export const endProcess = (child: ChildProcess | undefined, signal: NodeJS.Signals) =>
  Effect.callback<void>((resume) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill(signal)
  })
