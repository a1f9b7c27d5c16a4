/** The folder of one job. It is removed afterwards, even if the job changed its permissions. */
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { describeCode, errorCode } from "./errorDescription.ts"
import type { Reaper } from "./reaper.ts"

/** A file operation failed. */
export class FolderError extends Data.TaggedError("FolderError")<{
  /** The system's code, for example `ENOSPC`. */
  readonly code: string
  readonly cause: unknown
}> {}

const attempt = <A>(operation: () => Promise<A>): Effect.Effect<A, FolderError> =>
  Effect.tryPromise({ try: operation, catch: (cause) => new FolderError({ code: errorCode(cause), cause }) })

/** Creates a folder in `parent`, until the scope closes. */
export const open = Effect.fnUntraced(function* (
  parent: string,
  reaper: Reaper
): Effect.fn.Return<string, FolderError, Scope.Scope> {
  const name = `stacksapi-job-${randomUUID()}`
  const folder = Path.join(parent, name)
  yield* Effect.acquireRelease(
    Effect.suspend(() => {
      // Before the folder is created, because this process may be killed at any time.
      reaper.addFolder(name)
      return Effect.onError(
        attempt(() => Fs.mkdir(folder, { mode: 0o700 })),
        () => Effect.sync(() => reaper.removeFolder(name))
      )
    }),
    () =>
      Effect.andThen(remove(folder), (isRemoved) =>
        isRemoved ? Effect.sync(() => reaper.removeFolder(name)) : Effect.void
      )
  )
  return folder
})

/** How long a job waits for the removal of its folder, which then continues in the background. */
const removalTimeout = Duration.minutes(1)

/** Removes a folder. Logs a failure, and leaves the rest. */
const remove = (folder: string): Effect.Effect<boolean> =>
  removeAll(folder).pipe(
    // Only root can remove files in read-only folders, such as Go's module cache.
    Effect.catch(() => Effect.andThen(makeWritable(folder), removeAll(folder))),
    Effect.as(true),
    Effect.catch(({ code }) =>
      Effect.as(Effect.logWarning(`Could not remove the folder of a job, ${folder}: ${describeCode(code)}`), false)
    ),
    Effect.interruptible,
    Effect.timeoutOption(removalTimeout),
    Effect.flatMap(
      Option.match({
        onNone: () =>
          Effect.as(
            Effect.logWarning(`The removal of a job's folder takes long, and continues in the background: ${folder}`),
            false
          ),
        onSome: Effect.succeed
      })
    )
  )

const removeAll = (folder: string) =>
  attempt(() => Fs.rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))

/** Makes a folder and all folders in it writable. Does not follow symbolic links. */
const makeWritable = Effect.fnUntraced(function* (folder: string): Effect.fn.Return<void, FolderError> {
  const folders = [folder]
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const current = next
    const info = yield* attempt(() => Fs.lstat(current))
    if (!info.isDirectory()) continue
    yield* attempt(() => Fs.chmod(current, 0o700))
    for (const entry of yield* attempt(() => Fs.readdir(current, { withFileTypes: true }))) {
      if (entry.isDirectory()) folders.push(Path.join(current, entry.name))
    }
  }
})
