/** What the file system says no with, in words: as Node says it, where Effect has no word for it. */
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import { whyNot } from "../process/whyNot.ts"

export const describe = (error: PlatformError.PlatformError): string => {
  const { _tag, cause } = error.reason
  return _tag === "Unknown" && Predicate.isError(cause) ? cause.message : whyNot(error)
}
