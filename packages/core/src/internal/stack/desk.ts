/** What is asked about single jobs, and asked of the service for up to 1000 of them at once. */
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { MaxBatchSize } from "../../StacksSchema.ts"

export interface Desk<A, E> {
  /** The answer about a job. Who asks while all requests are under way travels with the next. */
  readonly ask: (jobUuid: string) => Effect.Effect<A, E>
}

interface Question<A, E> {
  readonly answer: Deferred.Deferred<A, E>
  /** Of the first one who asked. */
  readonly context: Context.Context<never>
}

/**
 * Makes at most so many requests at a time. `request` gives the answer about each of its jobs; what fails fails for all of
 * them.
 */
export const make = Effect.fnUntraced(function* <A, E>(
  requests: number,
  request: (jobUuids: ReadonlyArray<string>) => Effect.Effect<(jobUuid: string) => Effect.Effect<A, E>, E>
): Effect.fn.Return<Desk<A, E>, never, Scope.Scope> {
  // Of its own: jobs ask to the last, while what was made after the desk ends.
  const scope = yield* Scope.fork(yield* Effect.scope)
  const own = yield* Effect.context<never>()
  const waiting = new Map<string, Question<A, E>>()
  let underWay = 0

  const takeBatch = (): ReadonlyArray<readonly [string, Question<A, E>]> => {
    const batch: Array<readonly [string, Question<A, E>]> = []
    for (const entry of waiting) {
      if (batch.length === MaxBatchSize) break
      batch.push(entry)
      waiting.delete(entry[0])
    }
    return batch
  }

  const serve = Effect.gen(function* () {
    while (true) {
      // Those who are about to come can come along.
      yield* Effect.yieldNow
      const batch = takeBatch()
      const [first] = batch
      if (first === undefined) {
        underWay--
        return
      }
      // One job's question belongs to its trace; what is asked for many belongs to none.
      const context = batch.length === 1 ? first[1].context : own
      const exit = yield* request(batch.map(([jobUuid]) => jobUuid)).pipe(Effect.provideContext(context), Effect.exit)
      for (const [jobUuid, { answer }] of batch) {
        Deferred.doneUnsafe(answer, Exit.isSuccess(exit) ? exit.value(jobUuid) : Exit.failCause(exit.cause))
      }
    }
  })

  return {
    ask: (jobUuid) =>
      Effect.contextWith((context: Context.Context<never>) => {
        const asked = waiting.get(jobUuid)
        if (asked !== undefined) return Deferred.await(asked.answer)
        const question: Question<A, E> = { answer: Deferred.makeUnsafe(), context }
        waiting.set(jobUuid, question)
        if (underWay === requests) return Deferred.await(question.answer)
        underWay++
        return Effect.andThen(Effect.forkIn(serve, scope, { startImmediately: true }), Deferred.await(question.answer))
      })
  }
})
