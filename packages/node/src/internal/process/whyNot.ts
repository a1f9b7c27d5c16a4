/** What the file system says no with, in words. */
import type * as PlatformError from "effect/PlatformError"

export const whyNot = ({ message, reason }: PlatformError.PlatformError): string => {
  switch (reason._tag) {
    case "NotFound":
      return "there is no such file or folder"
    case "PermissionDenied":
      return "permission denied"
    case "AlreadyExists":
      return "something else has that name"
    case "BadResource":
      return "it is no file, or its path leads through one"
    default:
      return message
  }
}
