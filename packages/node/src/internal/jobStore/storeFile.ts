/**
 * The file of a job store, to which lines are appended. A line counts as written when the disk has it.
 *
 * The file is created, and written anew without what is over, beside its place: then it is moved there. So the file is whole at any
 * time, except for the last line. What a failure leaves of a line is cut off before the next one is written.
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
  /** Writes the entries as one line. */
  readonly append: (entries: ReadonlyArray<string>) => Effect.Effect<void, PlatformError>
  /** Writes the file anew, with the saved jobs only. */
  readonly compact: Effect.Effect<void, PlatformError>
  /** In bytes. */
  readonly size: () => number
}

type Services = FileSystem.FileSystem | Path.Path | Scope.Scope

/** A file that is written to. */
interface OpenFile {
  readonly id: string
  readonly file: FileSystem.File
  readonly info: FileSystem.File.Info
  readonly close: Effect.Effect<void>
}

/** Opens a file of which `content` is known to be right, or creates it. Closes it with the scope. */
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
  /** What a failure has left to do before the next line. */
  let isTailTorn = false
  let isMoveUnsure = false
  let isContentUnsure = false

  const openFile = Effect.fnUntraced(function* (name: string, id: string, flag: "r+" | "wx+") {
    const scope = yield* Scope.make()
    const close = Scope.close(scope, Exit.void)
    const file = yield* Effect.onError(Scope.provide(fs.open(name, { flag, mode: 0o600 }), scope), () => close)
    const info = yield* Effect.onError(file.stat, () => close)
    return { id, file, info, close }
  })

  const syncFolder = Effect.scoped(Effect.flatMap(fs.open(folder, { flag: "r" }), ({ sync }) => sync)).pipe(
    // Some file systems can't, and need not.
    Effect.catchIf(isUnsupported, () => Effect.void)
  )

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
    isTailTorn = isContentUnsure = false
    isMoveUnsure = true
    yield* syncFolder
    isMoveUnsure = false
  })

  const truncate = (file: FileSystem.File) =>
    Effect.map(file.truncate(size), () => {
      isTailTorn = false
    })

  /** Whether the path still names the file, and nobody has cut it off. */
  const isInPlace = ({ info }: OpenFile) =>
    Effect.match(fs.stat(path), {
      onFailure: () => false,
      onSuccess: (found) =>
        found.dev === info.dev &&
        Option.getOrUndefined(found.ino) === Option.getOrUndefined(info.ino) &&
        Number(found.size) >= size
    })

  const prepared = Effect.gen(function* () {
    if (current !== undefined && !isContentUnsure && (yield* isInPlace(current))) {
      if (isMoveUnsure) yield* syncFolder
      isMoveUnsure = false
      if (isTailTorn) yield* truncate(current.file)
      return current
    }
    if (!isContentUnsure)
      yield* Effect.logWarning(`${path} was removed or changed by another program, and is written anew`)
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
      // Linux may drop what it could not write, and then tell that all is written: the file is not relied on any more.
      isContentUnsure = true
      yield* file.sync
      isContentUnsure = false
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

/** EINVAL, as some file systems say of a folder that is synchronized. */
const isUnsupported = ({ reason }: PlatformError): boolean =>
  Predicate.hasProperty(reason.cause, "code") && reason.cause.code === "EINVAL"
