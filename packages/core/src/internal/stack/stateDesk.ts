/** Tells the states of jobs. One request at a time: who comes meanwhile travels with the next, up to 1000 of them. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { StacksError } from "../../StacksError.ts"
import { type JobState, MaxBatchSize } from "../../StacksSchema.ts"
import { stateIn } from "../stateIn.ts"

export interface StateDesk {
  /** The state of a job; undefined where it is not known, or the service won't tell. */
  readonly stateOf: (jobUuid: string) => Effect.Effect<JobState | undefined>
}

type States = Readonly<Record<string, JobState>>

/** `ask` must have an answer or a refusal at its end, however long that takes. */
export const make = Effect.fnUntraced(function* (
  ask: (jobUuids: ReadonlyArray<string>) => Effect.Effect<{ readonly states: States }, StacksError>
): Effect.fn.Return<StateDesk, never, Scope.Scope> {
  const waiting = new Map<string, Deferred.Deferred<JobState | undefined>>()
  const calls = yield* Latch.make(false)

  const serve = Effect.gen(function* () {
    yield* calls.await
    // Those who are about to come can come along.
    yield* Effect.yieldNow
    const batch = Array.from(waiting).slice(0, MaxBatchSize)
    for (const [jobUuid] of batch) waiting.delete(jobUuid)
    if (waiting.size === 0) calls.closeUnsafe()
    const states = yield* Effect.match(ask(batch.map(([jobUuid]) => jobUuid)), {
      onFailure: (): States => ({}),
      onSuccess: ({ states }) => states
    })
    for (const [jobUuid, answer] of batch) Deferred.doneUnsafe(answer, Exit.succeed(stateIn(states, jobUuid)))
  })
  yield* Effect.forkScoped(Effect.forever(serve))

  return {
    stateOf: (jobUuid) =>
      Effect.suspend(() => {
        let answer = waiting.get(jobUuid)
        if (answer === undefined) {
          answer = Deferred.makeUnsafe()
          waiting.set(jobUuid, answer)
          calls.openUnsafe()
        }
        return Deferred.await(answer)
      })
  }
})
