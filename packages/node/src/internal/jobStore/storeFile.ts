/**
 * The file of a job store, to which lines are appended. A line counts as written when it is on the disk.
 *
 * A new or compacted file is written beside its path, and then moved there. So the file is always complete, except for its last line. The
 * rest of a line that failed is cut off before the next one is written.
 */
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import * as Format from "./format.ts"

export interface StoreFile {
  /** Appends the entries as one line. */
  readonly append: (entries: ReadonlyArray<string>) => Effect.Effect<void, PlatformError>
  /** Replaces the file by one with the saved jobs only. */
  readonly compact: Effect.Effect<void, PlatformError>
  /** In bytes. */
  readonly size: () => number
}

type Services = FileSystem.FileSystem | Path.Path | Scope.Scope

/** The file that lines are appended to. */
interface OpenFile {
  readonly id: string
  readonly file: FileSystem.File
  readonly info: FileSystem.File.Info
  readonly close: Effect.Effect<void>
}

/** Opens a file whose `content` was read, or creates one. Closes it with the scope. */
export const open: (
  path: string,
  jobs: Format.SavedJobs,
  content: Extract<Format.Content, { readonly _tag: "Sound" }> | undefined
) => Effect.Effect<StoreFile, PlatformError, Services> = Effect.fnUntraced(function* (path, jobs, content) {
  const fs = yield* FileSystem.FileSystem
  const folder = (yield* Path.Path).dirname(path)
  const temporary = `${path}.new`
  let current: OpenFile | undefined
  let size = 0
  let nextSequence = 0
  /** What has to be repaired before the next line, after a failure. */
  let isTailTorn = false
  let isMoveUncertain = false
  let isContentUncertain = false

  const openFile = (name: string, id: string, flag: "r+" | "wx+") => openScoped(fs, name, id, flag)
  const syncFolder = syncFolderOf(fs, folder)

  const rewrite = Effect.gen(function* () {
    yield* fs.remove(temporary, { force: true })
    const id = randomBytes(8).toString("hex")
    const opened = yield* openFile(temporary, id, "wx+")
    const lines = jobs.toLines(id)
    const bytes = Buffer.from(lines.join(""))
    yield* opened.file.writeAll(bytes).pipe(
      Effect.andThen(opened.file.sync),
      Effect.andThen(fs.rename(temporary, path)),
      Effect.onError(() => Effect.andThen(opened.close, Effect.ignore(fs.remove(temporary, { force: true }))))
    )
    if (current !== undefined) yield* current.close
    current = opened
    size = bytes.length
    nextSequence = lines.length - 1
    isTailTorn = isContentUncertain = false
    isMoveUncertain = true
    yield* syncFolder
    isMoveUncertain = false
  })

  const truncate = (file: FileSystem.File) =>
    Effect.map(file.truncate(size), () => {
      isTailTorn = false
    })

  const isInPlace = ({ info }: OpenFile) =>
    Effect.match(fs.stat(path), { onFailure: () => false, onSuccess: (found) => isSameFile(found, info, size) })

  const prepared = Effect.gen(function* () {
    if (current !== undefined && !isContentUncertain && (yield* isInPlace(current))) {
      if (isMoveUncertain) yield* syncFolder
      isMoveUncertain = false
      if (isTailTorn) yield* truncate(current.file)
      return current
    }
    if (!isContentUncertain)
      yield* Effect.logWarning(`${path} was removed or changed by another program, and is rewritten`)
    yield* rewrite
    return current
  })

  const append = Effect.fnUntraced(function* (entries: ReadonlyArray<string>) {
    const opened = yield* prepared
    if (opened === undefined) return
    const { file, id } = opened
    const bytes = Buffer.from(Format.line(id, nextSequence, entries))
    isTailTorn = true
    yield* Effect.gen(function* () {
      yield* file.seek(BigInt(size), "start")
      yield* file.writeAll(bytes)
      // After a failed sync, Linux may drop the data and report success later: the file has to be rewritten.
      isContentUncertain = true
      yield* file.sync
      isContentUncertain = false
    }).pipe(Effect.onError(() => Effect.ignore(truncate(file))))
    isTailTorn = false
    size += bytes.length
    nextSequence++
  })

  if (content === undefined) yield* rewrite
  else {
    yield* fs.remove(temporary, { force: true })
    yield* fs.chmod(path, 0o600)
    current = yield* openFile(path, content.id, "r+")
    size = content.size
    nextSequence = content.nextSequence
    if (current.info.size > size) yield* Effect.andThen(truncate(current.file), current.file.sync)
  }
  yield* Effect.addFinalizer(() => current?.close ?? Effect.void)
  return { append, compact: rewrite, size: () => size }
})

/** Opens a file that is closed by its own `close`. */
const openScoped = Effect.fnUntraced(function* (
  fs: FileSystem.FileSystem,
  name: string,
  id: string,
  flag: "r+" | "wx+"
): Effect.fn.Return<OpenFile, PlatformError> {
  const scope = yield* Scope.make()
  const close = Scope.close(scope, Exit.void)
  const file = yield* Effect.onError(Scope.provide(fs.open(name, { flag, mode: 0o600 }), scope), () => close)
  const info = yield* Effect.onError(file.stat, () => close)
  return { id, file, info, close }
})

const syncFolderOf = (fs: FileSystem.FileSystem, folder: string): Effect.Effect<void, PlatformError> =>
  Effect.scoped(Effect.flatMap(fs.open(folder, { flag: "r" }), ({ sync }) => sync)).pipe(
    // Some file systems can't sync folders, and need not.
    Effect.catchIf(isUnsupported, () => Effect.void)
  )

/** Whether the path still names the file, and nobody has truncated it. */
const isSameFile = (found: FileSystem.File.Info, info: FileSystem.File.Info, size: number): boolean =>
  found.dev === info.dev &&
  Option.getOrUndefined(found.ino) === Option.getOrUndefined(info.ino) &&
  Number(found.size) >= size

/** Some file systems report EINVAL for syncing a folder. */
const isUnsupported = ({ reason }: PlatformError): boolean =>
  Predicate.hasProperty(reason.cause, "code") && reason.cause.code === "EINVAL"
