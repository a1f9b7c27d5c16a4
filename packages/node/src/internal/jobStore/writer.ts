/** Batches concurrent calls into one line, so that jobs that end together share one write and one sync. */
import { JobStoreError } from "@stacksapi/core/JobStore"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as PlatformError from "effect/PlatformError"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { errorDescription } from "../process/errorDescription.ts"
import type { SavedJobs } from "./format.ts"
import type { StoreFile } from "./storeFile.ts"

/** One call. */
interface Change {
  /** Its JSON in the file. */
  readonly entry: string
  /** Applies it to the saved jobs in memory, once it is in the file. */
  readonly apply: () => void
}

interface Call {
  /** Undefined if the call only waits for earlier ones. */
  readonly change: Change | undefined
  readonly done: Deferred.Deferred<void, JobStoreError>
}

export interface Writer {
  /** Succeeds when the change is on the disk. Interruption does not stop the write. */
  readonly write: (change: Change) => Effect.Effect<void, JobStoreError>
  /** Succeeds when all earlier changes are written or have failed. */
  readonly flush: Effect.Effect<void, JobStoreError>
}

/** The longest line, in characters, unless one call is longer. */
const maxLineLength = 4 * 1024 * 1024

/** A smaller file is not compacted. */
const minCompactSize = 1024 * 1024
/** How many times larger than its saved jobs a file can be before it is compacted. */
const maxGrowth = 4

/** Starts the writer. When the scope closes, it completes the pending writes. */
export const make = Effect.fnUntraced(function* (
  path: string,
  file: StoreFile,
  jobs: SavedJobs
): Effect.fn.Return<Writer, never, Scope.Scope> {
  const queue = yield* Queue.unbounded<Call, Cause.Done>()
  let compactAt = minCompactSize

  const commit = Effect.fnUntraced(function* (calls: ReadonlyArray<Call>) {
    const changes = calls.flatMap(({ change }) => (change === undefined ? [] : [change]))
    if (changes.length > 0) yield* file.append(changes.map(({ entry }) => entry))
    for (const { apply } of changes) apply()
  })

  const commitAll = Effect.fnUntraced(function* (calls: ReadonlyArray<Call>) {
    for (const group of groupsOf(calls)) {
      const exit = yield* Effect.exit(Effect.mapError(commit(group), (error) => failed(path, error)))
      for (const { done } of group) Deferred.doneUnsafe(done, exit)
    }
  })

  const compact = Effect.suspend(() => {
    if (file.size() <= Math.max(compactAt, maxGrowth * jobs.size)) return Effect.void
    return Effect.matchEffect(file.compact, {
      onFailure: (error) => {
        compactAt = 2 * file.size()
        return Effect.logWarning(`${path} could not be compacted, and keeps growing: ${errorDescription(error)}`)
      },
      onSuccess: () => {
        compactAt = minCompactSize
        return Effect.void
      }
    })
  })

  const writing = yield* Queue.takeAll(queue).pipe(
    Effect.flatMap(commitAll),
    Effect.andThen(compact),
    Effect.forever,
    Effect.catchIf(Cause.isDone, () => Effect.void),
    Effect.forkScoped({ uninterruptible: true })
  )
  yield* Effect.addFinalizer(() => Effect.andThen(Queue.end(queue), Fiber.join(writing)))

  const submit = (change: Change | undefined) =>
    Effect.suspend(() => {
      const done = Deferred.makeUnsafe<void, JobStoreError>()
      return Queue.offerUnsafe(queue, { change, done })
        ? Deferred.await(done)
        : Effect.fail(new JobStoreError({ message: `The job store ${path} is closed` }))
    })
  return { write: submit, flush: submit(undefined) }
})

const groupsOf = (calls: ReadonlyArray<Call>): ReadonlyArray<ReadonlyArray<Call>> => {
  const groups: Array<Array<Call>> = []
  let length = Number.POSITIVE_INFINITY
  for (const call of calls) {
    const added = call.change?.entry.length ?? 0
    if (length + added > maxLineLength) {
      groups.push([])
      length = 0
    }
    groups.at(-1)?.push(call)
    length += added
  }
  return groups
}

const failed = (path: string, cause: PlatformError.PlatformError): JobStoreError =>
  new JobStoreError({
    message: `The job store ${path} can't be written: ${errorDescription(cause)}. Earlier data is safe, and another attempt may succeed`,
    cause
  })
