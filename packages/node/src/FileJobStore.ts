/**
 * Saves the jobs of stacks in a file, so that the next process continues with them after a restart or a crash.
 *
 * **When to use**
 *
 * Use it for a stack on one machine. The processes of a `ClusterStack` keep their jobs in its database.
 *
 * **Details**
 *
 * - `save` and `remove` succeed when the data is on the disk: neither a killed process nor a crashed machine loses it. Calls that are made
 *   while the disk is busy share the next write.
 * - The file is a log of writes, each with a checksum. An incomplete write at its end, after a crash, is cut off when the file is opened.
 *   When the log is four times as large as its saved jobs, and larger than 1 MiB, it is compacted into a new file that replaces it.
 * - A write that fails, for example on a full disk, fails its call with a `JobStoreError`. Earlier data stays, and the next call may succeed.
 * - One process uses the file at a time. The lock is a socket beside the file, which ends with its process.
 * - Stacks with different keys can share a file.
 * - The file contains no secrets: neither tokens nor environments of jobs. Only the user of the process can read it.
 *
 * **Gotchas**
 *
 * Use a folder on a local disk that stays when a container is replaced, and that nothing cleans up, unlike `/tmp`. Processes on several
 * machines that share a network file system do not see each other's locks.
 *
 * **Example** (A stack that continues with its jobs)
 *
 * ```ts
 * import { Stack } from "@stacksapi/core"
 * import { CommandRunner, FileJobStore, NodeStacksClient } from "@stacksapi/node"
 * import { Effect, Layer } from "effect"
 *
 * export const program = Stack.run({ key: "my-stack", queueKey: "_default" }).pipe(
 *   Effect.provide(
 *     Layer.mergeAll(
 *       NodeStacksClient.layerConfig,
 *       CommandRunner.layer(),
 *       FileJobStore.layer({ path: "/var/lib/my-stack/jobs" })
 *     )
 *   )
 * )
 * ```
 *
 * @since 0.2.0
 */
import { Buffer } from "node:buffer"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as JobStore from "@stacksapi/core/JobStore"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Format from "./internal/jobStore/format.ts"
import * as Lock from "./internal/jobStore/lock.ts"
import * as SavedJob from "./internal/jobStore/savedJob.ts"
import * as StoreFile from "./internal/jobStore/storeFile.ts"
import * as Writer from "./internal/jobStore/writer.ts"
import * as Check from "./internal/options.ts"
import { errorDescription } from "./internal/process/errorDescription.ts"
import { ensureWritable } from "./internal/process/preflight.ts"

/**
 * The file can't be used. `message` says why, and how to fix it.
 *
 * **Details**
 *
 * Reasons:
 * - `Locked`: another process uses the file, or another layer of this process; `pid` is that process.
 * - `Damaged`: bytes in the middle of the file were changed, which no crash does.
 * - `NewerVersion`: a newer version of this package wrote it.
 * - `NotAJobStore`: it is not a job store, for example the file of another program.
 * - `Unusable`: the file system does not let this process read or write it.
 *
 * @since 0.2.0
 * @category errors
 */
export class FileJobStoreError extends Data.TaggedError("FileJobStoreError")<{
  readonly reason: "Locked" | "Damaged" | "NewerVersion" | "NotAJobStore" | "Unusable"
  /** The file. */
  readonly path: string
  readonly message: string
  /** The process that uses the file. */
  readonly pid?: number | undefined
  readonly cause?: unknown
}> {}

/**
 * The options of the job store.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The file. The file and its folder are created if they are missing. */
  readonly path: string
}

/**
 * Opens a file and takes its lock, until the scope closes. Then it completes the pending writes, and releases the lock.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make: (
  options: Options
) => Effect.Effect<
  JobStore.Service,
  InvalidOptions | FileJobStoreError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> = Effect.fnUntraced(function* ({ path: given }) {
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

/**
 * Provides stacks with a `JobStore` that saves their jobs in a file.
 *
 * @since 0.2.0
 * @category layers
 */
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
