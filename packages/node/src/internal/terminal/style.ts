/** The standard output as a display: how wide it is, and whether it has colors. */
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"

export interface Display {
  /** In characters; undefined if the output is not a terminal. */
  readonly width: number | undefined
  readonly hasColor: boolean
}

export const currentDisplay = Effect.gen(function* () {
  const stdio = yield* Stdio.Stdio
  const terminal = yield* Terminal.Terminal
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  const columns = (yield* stdio.stdoutIsTerminal) ? yield* terminal.columns : 0
  return { width: columns > 0 ? columns : undefined, hasColor: canColor } satisfies Display
})

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 }

export type Style = keyof typeof codes

export const paint = (hasColor: boolean, style: Style | undefined, text: string): string =>
  style === undefined || !hasColor ? text : `\u001b[${codes[style]}m${text}\u001b[0m`
