/** Help and version without the command's modules, which take several times as long to load as all that Node itself does. */
import { existsSync, readFileSync } from "node:fs"
import { env } from "node:process"
import { stripVTControlCharacters } from "node:util"

/** What the build writes beside the compiled module: help by command, such as `jobs list`, and the version. In colors. */
export interface HelpTexts {
  readonly help: Readonly<Record<string, string>>
  readonly version: string
}

const file = new URL("./helpTexts.json", import.meta.url)

/**
 * The answer to `--version`, or to `--help` after the name of a command. Undefined for all other arguments, where there is no file of help
 * texts, as in the sources, and where the environment chooses the colors.
 */
export const instantAnswer = (args: ReadonlyArray<string>, isTerminal: boolean): string | undefined => {
  const last = args.at(-1)
  const command = args.slice(0, -1).join(" ")
  const isVersion = command === "" && (last === "--version" || last === "-v")
  const isHelp = last === "--help" || last === "-h"
  const { FORCE_COLOR, NO_COLOR, TERM } = env
  const choosesColors = Boolean(FORCE_COLOR || NO_COLOR) || TERM === "dumb"
  if (!(isVersion || isHelp) || choosesColors || !existsSync(file)) return undefined
  const { help, version }: HelpTexts = JSON.parse(readFileSync(file, "utf8"))
  const text = isVersion ? version : Object.hasOwn(help, command) ? help[command] : undefined
  return text === undefined || isTerminal ? text : stripVTControlCharacters(text)
}
