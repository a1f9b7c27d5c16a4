/** Asks the service about single jobs, up to 1000 of them in one request. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"
import { MaxBatchSize } from "../StacksSchema.ts"

export interface Batcher<A, E> {
  /** The answer about a job. Callers who ask while all requests are under way travel with the next one. */
  readonly ask: (jobUuid: string) => Effect.Effect<A, E>
}

interface Question<A, E> {
  readonly answer: Deferred.Deferred<A, E>
  /** The span of the first caller. */
  readonly parent: Tracer.AnySpan | undefined
  callers: number
  /** The request that the question travels with, once it does. */
  batch: Batch | undefined
}

interface Batch {
  /** How many of its questions have a caller left. */
  wanted: number
  /** Done when no caller is left. */
  readonly abandoned: Deferred.Deferred<never>
}

/**
 * Makes at most `requests` requests at a time, in the given context: a caller's policies don't matter. `request` gives the answer
 * about each of its jobs; its failure is the failure of all of them. A request whose callers have all been interrupted is too.
 */
export const make = <A, E>(
  requests: number,
  context: Context.Context<never>,
  request: (jobUuids: ReadonlyArray<string>) => Effect.Effect<(jobUuid: string) => Effect.Effect<A, E>, E>
): Batcher<A, E> => {
  const waiting = new Map<string, Question<A, E>>()
  let underWay = 0
  /** Whether a request is about to be sent, and still takes questions. */
  let isGathering = false

  const takeBatch = (): ReadonlyArray<readonly [string, Question<A, E>]> => {
    const questions: Array<readonly [string, Question<A, E>]> = []
    for (const entry of waiting) {
      if (questions.length === MaxBatchSize) break
      questions.push(entry)
      waiting.delete(entry[0])
    }
    return questions
  }

  const send = Effect.fnUntraced(function* (questions: ReadonlyArray<readonly [string, Question<A, E>]>) {
    const batch: Batch = { wanted: questions.length, abandoned: Deferred.makeUnsafe() }
    for (const [, question] of questions) question.batch = batch
    // A single question belongs to its caller's trace; a request for many belongs to none.
    const parent = questions.length === 1 ? questions[0]?.[1].parent : undefined
    const exit = yield* request(questions.map(([jobUuid]) => jobUuid)).pipe(
      (effect) => (parent === undefined ? effect : Effect.withParentSpan(effect, parent)),
      Effect.raceFirst(Deferred.await(batch.abandoned)),
      Effect.exit
    )
    for (const [jobUuid, { answer }] of questions) {
      Deferred.doneUnsafe(answer, Exit.isSuccess(exit) ? exit.value(jobUuid) : Exit.failCause(exit.cause))
    }
  })

  /** Gathers questions and sends one request. */
  const serve: Effect.Effect<void> = Effect.gen(function* () {
    // Callers who are about to ask can come along.
    yield* Effect.yieldNow
    isGathering = false
    const questions = takeBatch()
    yield* serveMore
    if (questions.length > 0) yield* send(questions)
    underWay--
    yield* serveMore
  })

  const serveMore: Effect.Effect<void> = Effect.suspend(() => {
    if (waiting.size === 0 || isGathering || underWay >= requests) return Effect.void
    underWay++
    isGathering = true
    return Effect.forkDetach(Effect.setContext(serve, context), { startImmediately: true })
  })

  const leave = (jobUuid: string, question: Question<A, E>) =>
    Effect.sync(() => {
      question.callers--
      if (question.callers > 0) return
      if (question.batch === undefined) {
        waiting.delete(jobUuid)
        return
      }
      question.batch.wanted--
      if (question.batch.wanted === 0) Deferred.doneUnsafe(question.batch.abandoned, Exit.interrupt())
    })

  return {
    ask: (jobUuid) =>
      Effect.contextWith((caller: Context.Context<never>) => {
        let question = waiting.get(jobUuid)
        if (question === undefined) {
          question = {
            answer: Deferred.makeUnsafe(),
            parent: Context.getOrUndefined(caller, Tracer.ParentSpan),
            callers: 0,
            batch: undefined
          }
          waiting.set(jobUuid, question)
        }
        const asked = question
        asked.callers++
        const answer = Effect.onInterrupt(Deferred.await(asked.answer), () => leave(jobUuid, asked))
        return Effect.andThen(serveMore, answer)
      })
  }
}
