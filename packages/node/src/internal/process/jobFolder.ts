/** A folder for one job, which is removed after it, whatever the job did to its modes. */
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

/** Makes a folder in `parent`, until the scope closes. */
export const open = Effect.fnUntraced(function* (
  parent: string,
  reaper: Reaper
): Effect.fn.Return<string, FolderError, Scope.Scope> {
  const name = `stacksapi-job-${randomUUID()}`
  const folder = Path.join(parent, name)
  yield* Effect.acquireRelease(
    Effect.suspend(() => {
      // Before the folder is there: this process may be killed at any time.
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

/** How long a job waits for its folder to be removed. The removal itself goes on. */
const patience = Duration.minutes(1)

/** Removes a folder. What can't be removed is logged and stays. */
const remove = (folder: string): Effect.Effect<boolean> =>
  removeAll(folder).pipe(
    // Files of folders that are read-only, as those of Go's module cache, can't be removed, except by root.
    Effect.catch(() => Effect.andThen(makeWritable(folder), removeAll(folder))),
    Effect.as(true),
    Effect.catch(({ code }) =>
      Effect.as(Effect.logWarning(`Could not remove the folder of a job, ${folder}: ${describeCode(code)}`), false)
    ),
    Effect.interruptible,
    Effect.timeoutOption(patience),
    Effect.flatMap(
      Option.match({
        onNone: () => Effect.as(Effect.logWarning(`The folder of a job is still being removed: ${folder}`), false),
        onSome: Effect.succeed
      })
    )
  )

const removeAll = (folder: string) =>
  attempt(() => Fs.rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))

/** Lets the user of this process change a folder and all folders in it. Follows no symbolic links. */
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
