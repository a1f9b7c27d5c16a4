/** The same for many jobs: what fails for one is told, and does not keep the others from it. */
import type * as StacksError from "@stacksapi/core/StacksError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { sanitizeLine } from "../terminal/sanitize.ts"
import { describe, Failed } from "./failure.ts"
import * as Ids from "./ids.ts"
import { say } from "./output.ts"

/** Enough to hide the latency, and far from the limits. */
const concurrency = 8

/**
 * Does something to each job of the arguments. `done` completes the sentence "2 of 5 jobs were not …". What would fail for all of them, such as a
 * token that is refused, ends it at once.
 */
export const eachJob = Effect.fnUntraced(function* <R>(
  given: ReadonlyArray<string>,
  done: string,
  act: (jobUuid: string) => Effect.Effect<void, StacksError.StacksError, R>
) {
  let count = 0
  let failures = 0
  yield* Ids.stream(given).pipe(
    Stream.mapEffect(
      (id) => {
        count++
        return Effect.catch(act(id), (error) => {
          if (isOnlyAnswer(given) || isForAll(error)) return Effect.fail(error)
          failures++
          return say(`${sanitizeLine(id)}: ${describe(error).message}`)
        })
      },
      { concurrency }
    ),
    Stream.runDrain
  )
  if (failures > 0) return yield* new Failed({ message: `${failures} of ${count} jobs were not ${done}` })
})

/** Whether there is one job: then its failure is the command's. */
const isOnlyAnswer = (given: ReadonlyArray<string>): boolean => given.length === 1 && given[0] !== "-"

const isForAll = (error: StacksError.StacksError): boolean =>
  error._tag === "TransportError" ||
  (error._tag === "ErrorResponse" && (error.reason._tag === "Unauthorized" || error.reason._tag === "Forbidden"))
