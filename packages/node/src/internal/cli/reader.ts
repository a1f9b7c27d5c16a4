/**
 * Detects when no process reads the pipe of the standard output any more. Otherwise only the next write fails, and a command without
 * output would run forever.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"

/** Finds the readers of the pipe. `gone` waits until there is none: forever if the output is not a pipe, or the system is not Linux. */
export const findReader = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const pipe = yield* Effect.orElseSucceed(fs.readLink("/proc/self/fd/1"), () => "")
  if (!pipe.startsWith("pipe:")) return { gone: Effect.never }

  /** Whether a descriptor of another process is the pipe's other end. */
  const isReadEnd = (directory: string, descriptor: string) =>
    Effect.gen(function* () {
      if ((yield* fs.readLink(`${directory}/fd/${descriptor}`)) !== pipe) return false
      const info = yield* fs.readFileString(`${directory}/fdinfo/${descriptor}`)
      // The last bits are the access mode: 0 is for reading only.
      return /^flags:\s*[0-7]*[04]$/m.test(info)
    }).pipe(Effect.orElseSucceed(() => false))

  let readers: ReadonlySet<string> = new Set()

  const isReader = (process: string): Effect.Effect<boolean> => {
    const directory = `/proc/${process}`
    return fs.readDirectory(`${directory}/fd`).pipe(
      Effect.flatMap((descriptors) =>
        Effect.map(
          Effect.forEach(descriptors, (descriptor) => isReadEnd(directory, descriptor)),
          (ends) => ends.includes(true)
        )
      ),
      // A reader that has changed its user is still a reader.
      Effect.catch((error: PlatformError.PlatformError) =>
        Effect.succeed(readers.has(process) && error.reason._tag === "PermissionDenied")
      )
    )
  }

  const find = Effect.map(
    Effect.flatMap(
      Effect.orElseSucceed(fs.readDirectory("/proc"), () => []),
      (names) =>
        Effect.filter(
          names.filter((name) => /^\d+$/.test(name)),
          isReader
        )
    ),
    (found) => new Set(found)
  )

  readers = yield* find
  if (readers.size === 0) return { gone: Effect.never }
  const gone = Effect.gen(function* () {
    while (readers.size > 0) {
      yield* Effect.sleep("1 second")
      readers = new Set(yield* Effect.filter(readers, isReader))
      // It may have passed the pipe to another process.
      if (readers.size === 0) readers = yield* find
    }
  })
  return { gone }
})
