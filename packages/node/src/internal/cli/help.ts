/** The word `help`, which means the same as the flag `--help`. */

/** The most words that a command has. A word `help` may follow them. */
const maxWords = 3

/**
 * Replaces the word `help` by `--help`, before, between or after the words of a command: `help run`, `jobs help list`, `run help`.
 */
export const withHelpFlag = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const firstFlag = args.findIndex((argument) => argument.startsWith("-"))
  const words = firstFlag === -1 ? args : args.slice(0, firstFlag)
  const index = words.slice(0, maxWords).indexOf("help")
  return index === -1 ? args : [...words.filter((_, other) => other !== index), ...args.slice(words.length), "--help"]
}
