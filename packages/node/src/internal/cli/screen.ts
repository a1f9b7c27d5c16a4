/** Where output goes: how wide it is, and whether it has colors. */

import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"

export interface Screen {
  /** In characters; undefined where nobody looks, as in a pipe. */
  readonly width: number | undefined
  readonly hasColor: boolean
}

export const currentScreen = Effect.gen(function* () {
  const stdio = yield* Stdio.Stdio
  const terminal = yield* Terminal.Terminal
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  const columns = (yield* stdio.stdoutIsTerminal) ? yield* terminal.columns : 0
  return { width: columns > 0 ? columns : undefined, hasColor: canColor } satisfies Screen
})

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 }

export type Style = keyof typeof codes

export const paint = (screen: Screen, style: Style | undefined, text: string): string =>
  style === undefined || !screen.hasColor ? text : `\u001b[${codes[style]}m${text}\u001b[0m`

/** How long ago, or how soon: `12s ago`, `in 3m`. */
export const fromNow = (now: DateTime.Utc, time: DateTime.Utc): string => {
  const distance = DateTime.distance(now, time)
  const text = roughly(Duration.abs(distance))
  return Duration.isNegative(distance) ? `${text} ago` : text === "0s" ? "now" : `in ${text}`
}

/** In the largest unit of which there is at least one. */
const roughly = (duration: Duration.Duration): string => {
  const { days, hours, minutes, seconds } = Duration.parts(duration)
  if (days > 0) return `${days}d`
  if (hours > 0) return `${hours}h`
  return minutes > 0 ? `${minutes}m` : `${seconds}s`
}
