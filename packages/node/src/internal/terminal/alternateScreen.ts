/** The alternate screen of a terminal: drawing on it leaves the main screen as it was. */
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Terminal from "effect/Terminal"

const csi = "\u001b["

/** Switches to the alternate screen, and hides the cursor. */
const enter = `${csi}?1049h${csi}?25l${csi}H${csi}2J`
/** Switches back, with the cursor where it was. Clears a terminal that has no alternate screen. */
const leave = `${csi}?7h${csi}H${csi}2J${csi}?1049l${csi}?25h`

/**
 * Writes a frame over the previous one, in one write, so that nothing flickers. Terminals with synchronized output (2026) show it at
 * once. Lines that are longer than measured are cut off, not wrapped (7).
 */
const frame = (lines: ReadonlyArray<string>): string =>
  `${csi}?2026h${csi}?7l${csi}H${lines.join(`${csi}K\r\n`)}${csi}K${csi}J${csi}?7h${csi}?2026l`

export interface Size {
  readonly columns: number
  readonly rows: number
}

export interface AlternateScreen {
  /** Draws these lines on a terminal of this size, unless it shows them already. */
  readonly draw: (lines: ReadonlyArray<string>, size: Size) => Effect.Effect<void>
}

/** Switches to the alternate screen until the scope closes. */
export const make = Effect.fnUntraced(function* (
  terminal: Terminal.Terminal
): Effect.fn.Return<AlternateScreen, never, Scope.Scope> {
  // A terminal that is gone is no error.
  const write = (text: string) => Effect.ignore(terminal.display(text))
  let shown = ""
  yield* Effect.acquireRelease(write(enter), () => write(leave))
  yield* restoreOnExit(() => {
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

/** Writes to the terminal of this process synchronously, and to no other output. */
const writeNow = (text: string): void => {
  if (process.stdout.isTTY) Result.try(() => writeSync(1, text))
}

const terminatingSignals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const

/** Restores the terminal also when the process ends, or is suspended, without closing scopes. SIGKILL can't be handled. */
const restoreOnExit = (redraw: () => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const restore = () => writeNow(leave)
      const enterAgain = () => {
        writeNow(enter)
        redraw()
      }
      const onSignal = (signal: NodeJS.Signals) => {
        // The process survives the signal if there is another listener.
        if (process.listenerCount(signal) > 1) return
        restore()
        release()
        process.kill(process.pid, signal)
      }
      const onSuspend = () => {
        restore()
        process.once("SIGCONT", enterAgain)
        process.kill(process.pid, "SIGSTOP")
      }
      const release = () => {
        process.off("exit", restore)
        process.off("uncaughtExceptionMonitor", restore)
        process.off("SIGTSTP", onSuspend)
        process.off("SIGCONT", enterAgain)
        for (const signal of terminatingSignals) process.off(signal, onSignal)
      }
      process.on("exit", restore)
      process.on("uncaughtExceptionMonitor", restore)
      process.on("SIGTSTP", onSuspend)
      for (const signal of terminatingSignals) process.on(signal, onSignal)
      return release
    }),
    (release) => Effect.sync(release)
  )
