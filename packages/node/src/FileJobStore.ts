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
import type * as JobStore from "@stacksapi/core/JobStore"
import type { InvalidOptions } from "@stacksapi/core/StacksError"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Path from "effect/Path"
import type * as Scope from "effect/Scope"
import type { FileJobStoreError } from "./internal/jobStore/fileJobStoreError.ts"

const implementation = Effect.promise(() => import("./internal/jobStore/fileJobStore.ts"))

export {
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
  FileJobStoreError
} from "./internal/jobStore/fileJobStoreError.ts"

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
> = (options) => Effect.flatMap(implementation, ({ make }) => make(options))

/**
 * Provides stacks with a `JobStore` that saves their jobs in a file.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<never, InvalidOptions | FileJobStoreError> =>
  Layer.unwrap(Effect.map(implementation, ({ layer }) => layer(options)))
