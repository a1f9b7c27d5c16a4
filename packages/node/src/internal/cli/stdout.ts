/** Writes results to the standard output, and reports writes that fail. */
import * as Fs from "node:fs"
import type * as Console from "effect/Console"
import * as Result from "effect/Result"

/** Whether the standard output is a file or device, and not a terminal, pipe or socket. */
const isFile = (): boolean =>
  Result.getOrElse(
    Result.try(() => {
      const info = Fs.fstatSync(1)
      return info.isFile() || info.isBlockDevice() || (info.isCharacterDevice() && !process.stdout.isTTY)
    }),
    () => false
  )

/** Writes a whole text. On a disk that is nearly full, a single write may succeed in part. */
const writeAll = (text: string): void => {
  const bytes = Buffer.from(text)
  for (let written = 0; written < bytes.length; ) written += Fs.writeSync(1, bytes, written)
}

/**
 * The console of this process. It calls `onError` once if a write fails. Node's own console writes a part of a text to a full disk, and
 * reports nothing.
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
