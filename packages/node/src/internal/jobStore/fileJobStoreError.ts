import * as Data from "effect/Data"

/** The file can't be used. `message` says why, and how to fix it. */
export class FileJobStoreError extends Data.TaggedError("FileJobStoreError")<{
  readonly reason: "Locked" | "Damaged" | "NewerVersion" | "NotAJobStore" | "Unusable"
  /** The file. */
  readonly path: string
  readonly message: string
  /** The process that uses the file. */
  readonly pid?: number | undefined
  readonly cause?: unknown
}> {}
