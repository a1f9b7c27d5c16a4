/** Classifies a runner's failure. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"
import { messageOf } from "../messageOf.ts"
import type { ServiceTrouble } from "./jobContext.ts"

export type RunFailure = Data.TaggedEnum<{
  /** The service issued no token: another stack may have the job. */
  NotOurs: {}
  /** The job's details or token could not be requested, so the job was not started. */
  Service: { readonly message: string; readonly isOffender: boolean }
  /** The runner says that the job was not started, and can start later. */
  Host: { readonly message: string }
  /** The runner says that the job was not started, and waits for capacity. */
  Capacity: { readonly message: string }
  /** Anything else: the job may have been started. */
  Runner: { readonly message: string }
}>

export const RunFailure = Data.taggedEnum<RunFailure>()

/** How many nested causes of a failure are checked. */
const maxDepth = 10

/** A failure, followed by its causes. */
const causesOf = (failure: unknown): ReadonlyArray<unknown> => {
  const causes = [failure]
  let current = failure
  while (causes.length < maxDepth && Predicate.hasProperty(current, "cause") && current.cause !== undefined) {
    current = current.cause
    causes.push(current)
  }
  return causes
}

export const classify = (cause: Cause.Cause<unknown>, trouble: ServiceTrouble): RunFailure => {
  const error = Cause.squash(cause)
  const text = messageOf(error)
  const message = text === "" ? "The runner failed without a message" : text
  for (const reason of causesOf(error)) {
    if (trouble.notIssued.has(reason)) return RunFailure.NotOurs()
    const known = trouble.failures.get(reason)
    if (known !== undefined) return RunFailure.Service({ message, isOffender: known.isOffender })
  }
  // Check its properties, because the error may come from another copy of this package.
  if (!Predicate.hasProperty(error, "isRetryable") || error.isRetryable !== true) return RunFailure.Runner({ message })
  const waitsForCapacity = Predicate.hasProperty(error, "waitsForCapacity") && error.waitsForCapacity === true
  return waitsForCapacity ? RunFailure.Capacity({ message }) : RunFailure.Host({ message })
}
