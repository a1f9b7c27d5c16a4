/** The implementation of `FileJobStore`, which loads this module when it opens a file. */
import { Buffer } from "node:buffer"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as JobStore from "@stacksapi/core/JobStore"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Options } from "../../FileJobStore.ts"
import * as Check from "../options.ts"
import { errorDescription } from "../process/errorDescription.ts"
import { ensureWritable } from "../process/preflight.ts"
import { FileJobStoreError } from "./fileJobStoreError.ts"
import * as Format from "./format.ts"
import * as Lock from "./lock.ts"
import * as SavedJob from "./savedJob.ts"
import * as StoreFile from "./storeFile.ts"
import * as Writer from "./writer.ts"

/** Opens a file. */
export const make: (
  options: Options
) => Effect.Effect<
  JobStore.Service,
  InvalidOptions | FileJobStoreError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> = Effect.fnUntraced(function* ({ path: given }: Options) {
  yield* Check.text("path", given, "the path of a file")
  const path = yield* Effect.mapError(resolvePath(given), (error) => unusable(given, error))
  yield* lock(path)
  const content = yield* read(path)
  const jobs = content === undefined ? new Format.SavedJobs() : content.jobs
  const file = yield* Effect.mapError(StoreFile.open(path, jobs, content), (error) => unusable(path, error))
  const writer = yield* Writer.make(path, file, jobs)

  return {
    load: (stackKey) =>
      writer.flush.pipe(
        Effect.andThen(Effect.suspend(() => Effect.forEach(jobs.of(stackKey), decode(path)))),
        Effect.map((saved) => saved.filter((job) => job !== undefined))
      ),
    save: (stackKey, saved) =>
      saved.length === 0
        ? Effect.void
        : Effect.flatMap(Effect.forEach(saved, encode), (texts) =>
            writer.write({
              entry: Format.saveEntry(stackKey, texts),
              apply: () => {
                for (const [index, { job }] of saved.entries()) jobs.save(stackKey, job.id, texts[index] ?? "")
              }
            })
          ),
    remove: (stackKey, jobUuids) =>
      jobUuids.length === 0
        ? Effect.void
        : writer.write({
            entry: Format.removeEntry(stackKey, jobUuids),
            apply: () => {
              for (const jobUuid of jobUuids) jobs.remove(stackKey, jobUuid)
            }
          })
  }
})

/** A `JobStore` over a file, with the services of Node. */
export const layer = (options: Options): Layer.Layer<never, InvalidOptions | FileJobStoreError> =>
  Layer.effect(JobStore.JobStore, make(options)).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))

// -----------------------------------------------------------------------------
// Opening
// -----------------------------------------------------------------------------

/** The path of the file without symbolic links, so that all links share one lock. Creates its folder. */
const resolvePath = Effect.fnUntraced(function* (given: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  let file = path.resolve(given)
  for (let links = 0; links < 40; links++) {
    const folder = yield* Effect.flatMap(ensureWritable(path.dirname(file)), fs.realPath)
    file = path.join(folder, path.basename(file))
    const target = yield* Effect.option(fs.readLink(file))
    if (target._tag === "None") break
    file = path.resolve(folder, target.value)
  }
  return file
})

const lock = Effect.fnUntraced(function* (path: string) {
  const { basename, dirname } = yield* Path.Path
  const holder = yield* Effect.mapError(Lock.acquire(dirname(path), basename(path)), (error) =>
    error._tag === "SocketError"
      ? new FileJobStoreError({
          reason: "Unusable",
          path,
          message: `Can't use the job store ${path}: ${error.message}`,
          cause: error
        })
      : unusable(path, error)
  )
  if (holder === undefined) return
  const { pid } = holder
  const owner = pid === process.pid ? "another layer of this process" : `process ${pid}`
  return yield* new FileJobStoreError({
    reason: "Locked",
    path,
    pid,
    message: `The job store ${path} is in use by ${owner}. Stop that first, or give each its own file`
  })
})

/** Reads the file; undefined if there is nothing yet. */
const read = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  const refuse = (reason: FileJobStoreError["reason"], issue: string) =>
    new FileJobStoreError({ reason, path, message: `Can't use the job store ${path}: ${issue}` })
  const bytes = yield* Effect.gen(function* () {
    // Reading a pipe or a device might never end.
    const { type } = yield* fs.stat(path)
    return type === "File" ? yield* fs.readFile(path) : yield* refuse("NotAJobStore", "it is not a file")
  }).pipe(
    Effect.catchReason("PlatformError", "NotFound", () => Effect.undefined),
    Effect.catchTag("PlatformError", (error) => Effect.fail(unusable(path, error)))
  )
  if (bytes === undefined) return undefined
  const content = Format.read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  switch (content._tag) {
    case "Empty":
      return undefined
    case "Sound": {
      const torn = bytes.length - content.size
      if (torn > 0)
        yield* Effect.logWarning(`The last ${torn} bytes of ${path} are an incomplete write, and are cut off`)
      return content
    }
    case "NotAJobStore":
      return yield* refuse("NotAJobStore", "it is the file of another program. Use another path")
    case "NewerVersion":
      return yield* refuse(
        "NewerVersion",
        `a newer version of @stacksapi/node wrote it (format ${content.version}). Use that version, or another path`
      )
    case "Damaged":
      return yield* refuse(
        "Damaged",
        `it is damaged at byte ${content.offset}, before valid lines. Restore it from a copy, or move it away. Without it the stack ` +
          "forgets its jobs, which are listed again when their reservations lapse, and loses outcomes that were not sent"
      )
  }
})

const unusable = (path: string, cause: PlatformError.PlatformError): FileJobStoreError =>
  new FileJobStoreError({
    reason: "Unusable",
    path,
    message: `Can't use the job store ${path}: ${errorDescription(cause)}`,
    cause
  })

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

const encode = (saved: JobStore.SavedJob): Effect.Effect<string, JobStore.JobStoreError> =>
  Effect.mapError(
    SavedJob.encode(saved),
    (cause: Schema.SchemaError) =>
      new JobStore.JobStoreError({ message: `Job ${saved.job.id} can't be saved: ${cause.message}`, cause })
  )

/** Skips a job that does not decode, because another version wrote it. It stays in the file for that version. */
const decode = (path: string) => (text: string) =>
  Effect.catch(SavedJob.decode(text), (error) =>
    Effect.as(Effect.logWarning(`A job in ${path} can't be decoded, and is skipped: ${error.message}`), undefined)
  )
