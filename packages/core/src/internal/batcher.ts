/** Batches questions about single jobs into requests of up to 1000 jobs. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"
import { MaxBatchSize } from "../StacksSchema.ts"

export interface Batcher<A, E> {
  /** Asks about a job. If all requests are in flight, the question is part of the next one. */
  readonly ask: (jobUuid: string) => Effect.Effect<A, E>
}

interface Question<A, E> {
  readonly answer: Deferred.Deferred<A, E>
  /** The span of the first caller. */
  readonly parent: Tracer.AnySpan | undefined
  callers: number
  /** The request that has the question, once it is sent. */
  batch: Batch | undefined
}

interface Batch {
  /** How many of its questions still have callers. */
  wanted: number
  /** Done when there are no callers left. */
  readonly abandoned: Deferred.Deferred<never>
}

/**
 * Sends at most `requests` requests at a time, in the given context, so that the policies of callers don't matter. `request` returns
 * the answer for each job; its failure fails all of them. If all callers are interrupted, so is the request.
 */
export const make = <A, E>(
  requests: number,
  context: Context.Context<never>,
  request: (jobUuids: ReadonlyArray<string>) => Effect.Effect<(jobUuid: string) => Effect.Effect<A, E>, E>
): Batcher<A, E> => {
  const waiting = new Map<string, Question<A, E>>()
  let underWay = 0
  /** Whether a request is about to be sent and still accepts questions. */
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
    // A single question has its caller's span as parent; a batch has none.
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

  /** Collects questions and sends one request. */
  const serve: Effect.Effect<void> = Effect.gen(function* () {
    // Let concurrent callers add their questions.
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
