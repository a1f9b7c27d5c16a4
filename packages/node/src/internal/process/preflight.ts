/** Checks folders and programs that a runner needs, before it takes its first job. */
import * as Fs from "node:fs"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"

/** Makes a folder where it is missing, and sees that it can be written. Gives its whole path. */
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
 * Makes a folder and those above it. Not by `recursive` alone: that tries for ever, and busily, where a file system as /proc says
 * of a new folder in one that exists that there is no such thing.
 */
const makeFolder: (
  folder: string
) => Effect.Effect<void, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> = Effect.fnUntraced(
  function* (folder) {
    const fileSystem = yield* FileSystem.FileSystem
    const above = (yield* Path.Path).dirname(folder)
    if (!(yield* fileSystem.exists(above))) yield* makeFolder(above)
    yield* fileSystem.makeDirectory(folder).pipe(
      // Which is right for a folder, and still wrong for a file.
      Effect.catchReason("PlatformError", "AlreadyExists", () => fileSystem.makeDirectory(folder, { recursive: true }))
    )
  }
)

/** Why a program can't be run. */
export class NoProgram extends Data.TaggedError("NoProgram")<{ readonly reason: string }> {}

/** Finds a program: a path, or a name to look up on `PATH`. Gives its whole path. */
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

/** Why a file can't be run; undefined where it can. */
const problemOf = Effect.fnUntraced(function* (
  file: string
): Effect.fn.Return<string | undefined, never, FileSystem.FileSystem> {
  const fileSystem = yield* FileSystem.FileSystem
  const info = yield* Effect.option(fileSystem.stat(file))
  if (Option.isNone(info)) return missing
  if (info.value.type !== "File") return `${file} is no file`
  // Root may do all but execute what nobody may.
  return (info.value.mode & 0o111) !== 0 && (yield* canExecute(file)) ? undefined : `${file} is not executable`
})

const canExecute = (file: string): Effect.Effect<boolean> =>
  Effect.callback((resume) => Fs.access(file, Fs.constants.X_OK, (error) => resume(Effect.succeed(error === null))))
