/** A terminal's second screen, which leaves no trace on the first. */
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Terminal from "effect/Terminal"
import type { Size } from "./frame.ts"

const csi = "\u001b["

/** The other screen, without its cursor. */
const enter = `${csi}?1049h${csi}?25l${csi}H${csi}2J`
/** Back, with the cursor where it was. A terminal without a second screen is at least cleared. */
const leave = `${csi}?7h${csi}H${csi}2J${csi}?1049l${csi}?25h`

/**
 * One frame in one write: over what was there, so that nothing flickers. Terminals that know how (2026) show it at once. Lines
 * that turn out longer than they were measured are cut off, not wrapped (7).
 */
const frame = (lines: ReadonlyArray<string>): string =>
  `${csi}?2026h${csi}?7l${csi}H${lines.join(`${csi}K\r\n`)}${csi}K${csi}J${csi}?7h${csi}?2026l`

export interface Screen {
  /** Shows these lines, unless they are there already, on a terminal of this size. */
  readonly draw: (lines: ReadonlyArray<string>, size: Size) => Effect.Effect<void>
}

/** Takes the terminal over until the scope closes. */
export const make = Effect.fnUntraced(function* (
  terminal: Terminal.Terminal
): Effect.fn.Return<Screen, never, Scope.Scope> {
  // A terminal that is gone is nobody's trouble.
  const write = (text: string) => Effect.ignore(terminal.display(text))
  let shown = ""
  yield* Effect.acquireRelease(write(enter), () => write(leave))
  yield* guard(() => {
    shown = ""
  })
  return {
    draw: (lines, { columns, rows }) =>
      Effect.suspend(() => {
        const text = frame(lines)
        const next = `${columns} ${rows} ${text}`
        if (next === shown) return Effect.void
        shown = next
        return write(text)
      })
  }
})

/** To the process' own terminal, and to no other output. */
const writeNow = (text: string): void => {
  if (process.stdout.isTTY) Result.try(() => writeSync(1, text))
}

const deadly = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const

/**
 * Gives the terminal back also where the process ends, or is suspended, without closing scopes. Not where it is killed: nobody
 * can see to that.
 */
const guard = (redraw: () => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const giveBack = () => writeNow(leave)
      const takeOver = () => {
        writeNow(enter)
        redraw()
      }
      const onSignal = (signal: NodeJS.Signals) => {
        // With another listener the process does not die of it.
        if (process.listenerCount(signal) > 1) return
        giveBack()
        release()
        process.kill(process.pid, signal)
      }
      const onSuspend = () => {
        giveBack()
        process.once("SIGCONT", takeOver)
        process.kill(process.pid, "SIGSTOP")
      }
      const release = () => {
        process.off("exit", giveBack)
        process.off("uncaughtExceptionMonitor", giveBack)
        process.off("SIGTSTP", onSuspend)
        process.off("SIGCONT", takeOver)
        for (const signal of deadly) process.off(signal, onSignal)
      }
      process.on("exit", giveBack)
      process.on("uncaughtExceptionMonitor", giveBack)
      process.on("SIGTSTP", onSuspend)
      for (const signal of deadly) process.on(signal, onSignal)
      return release
    }),
    (release) => Effect.sync(release)
  )
