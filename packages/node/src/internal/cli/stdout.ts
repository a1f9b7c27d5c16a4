/** Writes results to the standard output, and notices what could not be written. */
import * as Fs from "node:fs"
import type * as Console from "effect/Console"
import * as Result from "effect/Result"

/** Whether writes go to the file system, as those to a terminal, a pipe or a socket do not. */
const isFile = (): boolean =>
  Result.getOrElse(
    Result.try(() => {
      const info = Fs.fstatSync(1)
      return info.isFile() || info.isBlockDevice() || (info.isCharacterDevice() && !process.stdout.isTTY)
    }),
    () => false
  )

/** Writes all of a text: on a disk that is nearly full, a write takes a part and does not fail. */
const writeAll = (text: string): void => {
  const bytes = Buffer.from(text)
  for (let written = 0; written < bytes.length; ) written += Fs.writeSync(1, bytes, written)
}

/**
 * The console of this process. Node's own console writes a part of a text to a full disk, and says nothing. What can't be written is told to
 * `onError`, once.
 */
export const makeConsole = (onError: (cause: unknown) => void): Console.Console => {
  process.stdout.on("error", onError)
  if (!isFile()) return globalThis.console
  let isBroken = false
  const log = (...texts: ReadonlyArray<unknown>): void => {
    if (isBroken) return
    const result = Result.try(() => writeAll(`${texts.map(String).join(" ")}\n`))
    if (Result.isSuccess(result)) return
    isBroken = true
    onError(result.failure)
  }
  return Object.assign(Object.create(globalThis.console), { log })
}
