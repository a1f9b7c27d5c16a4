/** The arguments with which a program runs the command in a file. */
import { basename } from "node:path"

const isPosixShell = (word: string): boolean => /^(?:a|ba|da|k|lk|mk|ok|pdk|ya|z)?sh$/.test(basename(word))

/** `-c`, or a combination such as `-ec`. */
const isCommandOption = (word: string | undefined): boolean => word !== undefined && /^-[A-Za-z]*c$/.test(word)

/** The options of other programs whose value is code. */
const isCodeOption = (word: string | undefined): boolean =>
  word !== undefined && /^(?:-[ceEr]|--eval|--execute|--command|-Command)$/.test(word)

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/**
 * A shell reads the file as its own code: so `$0` and the parameters are those of `-c`. Another program gets the file, and no option that
 * would take its name for code.
 */
export const invocationOf = (shell: ReadonlyArray<string>, file: string): ReadonlyArray<string> => {
  const last = shell.length > 1 ? shell.at(-1) : undefined
  if (isCommandOption(last) && shell.some(isPosixShell)) return [...shell, `. ${quoted(file)}`]
  return [...(isCodeOption(last) ? shell.slice(0, -1) : shell), file]
}
