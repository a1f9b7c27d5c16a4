/** Describes errors of the system. */
import { constants } from "node:os"
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"

const words: Readonly<Record<string, string>> = {
  E2BIG: "the arguments and the environment are too long",
  EACCES: "permission denied",
  EAGAIN: "the system has no resources for it at the moment",
  EBUSY: "something is using it",
  EDQUOT: "the disk quota is exceeded",
  EFBIG: "the file is too large",
  EINVAL: "a value is invalid, for example because it has a NUL character",
  EIO: "input/output error",
  EISDIR: "it is a folder",
  ELOOP: "its path has too many symbolic links",
  EMFILE: "this process has too many open files",
  ENAMETOOLONG: "its name is too long",
  ENFILE: "the system has too many open files",
  ENODEV: "there is no such device",
  ENOENT: "there is no such file or folder",
  ENOEXEC: "this system can't run it as a program",
  ENOMEM: "the system is out of memory",
  ENOSPC: "no space is left on the device",
  ENOTDIR: "its path leads through a file",
  ENXIO: "there is no such device or address",
  EPERM: "the operation is not permitted",
  EPIPE: "nobody reads it",
  EROFS: "the file system is read-only",
  ESTALE: "the file handle is stale",
  ETXTBSY: "the file is being written"
}

const nameOf = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]))

/**
 * The code of a system's error, for example `ENOSPC`. Node gives some of them no name (`EDQUOT` is `Unknown system error -122`): those are named
 * by their number.
 */
export const errorCode = (cause: unknown): string => {
  const { code, errno } = Predicate.isObject(cause) ? (cause as Partial<NodeJS.ErrnoException>) : {}
  if (code === "ERR_INVALID_ARG_VALUE") return "EINVAL"
  if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) return code
  return (errno === undefined ? undefined : nameOf.get(Math.abs(errno))) ?? "EUNKNOWN"
}

/** Describes a code. */
export const describeCode = (code: string): string => {
  const text = words[code]
  return text === undefined ? code : `${text} (${code})`
}

/** Errors that may go away by themselves: the host lacks a resource, or a file is being replaced. */
const transient: ReadonlySet<string> = new Set([
  "EAGAIN",
  "EBUSY",
  "EDQUOT",
  "EINTR",
  "EIO",
  "EMFILE",
  "ENFILE",
  "ENOENT",
  "ENOMEM",
  "ENOSPC",
  "EROFS",
  "ESTALE",
  "ETXTBSY"
])

/** Whether the same file operation may succeed later. */
export const isTransient = (code: string): boolean => transient.has(code)

/** The code of a failed file operation, if the system gave one. */
export const codeOf = ({ reason }: PlatformError.PlatformError): string => errorCode(reason.cause)

/** Describes why a file operation failed. */
export const errorDescription = (error: PlatformError.PlatformError): string => {
  switch (error.reason._tag) {
    case "NotFound":
      return "there is no such file or folder"
    case "PermissionDenied":
      return "permission denied"
    case "AlreadyExists":
      return "something else has that name"
    case "BadResource":
      return "it is not a file, or its path leads through one"
    default: {
      const code = codeOf(error)
      return code in words ? describeCode(code) : error.message
    }
  }
}
