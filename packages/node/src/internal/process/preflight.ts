/** Checks the folders and programs of a runner before it takes its first job. */
import * as Fs from "node:fs"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"

/** Creates a folder if it is missing, and checks that it is writable. Returns its absolute path. */
export const ensureWritable = Effect.fnUntraced(function* (
  folder: string
): Effect.fn.Return<string, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> {
  const fileSystem = yield* FileSystem.FileSystem
  const whole = (yield* Path.Path).resolve(folder)
  yield* makeFolder(whole)
  yield* fileSystem.access(whole, { readable: true, writable: true })
  return whole
})

/**
 * Creates a folder and its parents. `recursive` alone loops forever on file systems such as /proc, which report ENOENT for a new folder
 * in an existing one.
 */
const makeFolder: (
  folder: string
) => Effect.Effect<void, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> = Effect.fnUntraced(
  function* (folder) {
    const fileSystem = yield* FileSystem.FileSystem
    const above = (yield* Path.Path).dirname(folder)
    if (!(yield* fileSystem.exists(above))) yield* makeFolder(above)
    yield* fileSystem.makeDirectory(folder).pipe(
      // Succeeds for an existing folder, and fails for a file.
      Effect.catchReason("PlatformError", "AlreadyExists", () => fileSystem.makeDirectory(folder, { recursive: true }))
    )
  }
)

/** A program can't be run. */
export class NoProgram extends Data.TaggedError("NoProgram")<{ readonly reason: string }> {}

/** Finds a program, by its path or its name on `PATH`. Returns its absolute path. */
export const findProgram = Effect.fnUntraced(function* (
  program: string,
  searchPath: string
): Effect.fn.Return<string, NoProgram, FileSystem.FileSystem | Path.Path> {
  const path = yield* Path.Path
  const isPath = program.includes("/")
  const candidates = isPath
    ? [path.resolve(program)]
    : searchPath.split(":").map((folder) => path.resolve(folder === "" ? "." : folder, program))
  const reasons = yield* Effect.forEach(candidates, problemOf)
  const index = reasons.indexOf(undefined)
  const found = candidates[index]
  if (found !== undefined) return found
  return yield* new NoProgram({
    reason:
      reasons.find((reason) => reason !== missing) ?? (isPath ? missing : `it is in no folder of PATH (${searchPath})`)
  })
})

const missing = "there is no such file"

/** Why a file can't be run; undefined if it can. */
const problemOf = Effect.fnUntraced(function* (
  file: string
): Effect.fn.Return<string | undefined, never, FileSystem.FileSystem> {
  const fileSystem = yield* FileSystem.FileSystem
  const info = yield* Effect.option(fileSystem.stat(file))
  if (Option.isNone(info)) return missing
  if (info.value.type !== "File") return `${file} is not a file`
  // The mode matters for root too, who can't execute a file without any execute permission.
  return (info.value.mode & 0o111) !== 0 && (yield* canExecute(file)) ? undefined : `${file} is not executable`
})

const canExecute = (file: string): Effect.Effect<boolean> =>
  Effect.callback((resume) => Fs.access(file, Fs.constants.X_OK, (error) => resume(Effect.succeed(error === null))))
