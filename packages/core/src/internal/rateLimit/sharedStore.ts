/**
 * What a process's windows have in common: the store that they ask, and what the process does while that is gone.
 *
 * Then it keeps to its share of each limit. Neither the change to that nor the one back may let the processes together exceed
 * a limit: who goes alone first waits until what was granted before is used up and counts no more, and who comes back keeps
 * to its share, besides asking the store, until the others must have come back too.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { RateLimiterStore } from "effect/persistence/RateLimiter"
import type * as Scope from "effect/Scope"
import { currentMonotonicMillis } from "../monotonicMillis.ts"

type Store = RateLimiterStore["Service"]
type Question = Parameters<Store["tokenBucket"]>[0]
/** The tokens that are left, fewer than none where some are owed, and the milliseconds since the last one came. */
type Granted = readonly [remaining: number, elapsed: number]

const answerMillis = 1000
const probeMillis = 2000
/** What the service counts, and some time for requests on their way. */
const windowMillis = 1100
/** By when all processes have found that the store is back, and what they sent before counts no more. */
const returnMillis = answerMillis + probeMillis + windowMillis + 400
/** What was granted for later than that is not waited for. */
const maxGrantedMillis = 5000
/** A store that makes wait longer has lost its way in time, unless so many processes are waiting. */
const maxDelayMillis = 30_000

const up = Metric.gauge("stacksapi_rate_limit_store_up", {
  description: "Whether the store of the rate limits answers: 1, or 0 while the process keeps to its share"
})
const outages = Metric.counter("stacksapi_rate_limit_store_outages", {
  description: "How often the store of the rate limits was lost",
  incremental: true
})

/** In how many milliseconds the last of the tokens is there. */
const delayOf = ([remaining, elapsed]: Granted, { refillRate }: Question): number =>
  Math.max(0, Math.ceil(-remaining) * Duration.toMillis(refillRate) - elapsed)

export interface SharedStore {
  /** How many processes share each limit while the store is gone. */
  readonly processes: number
  readonly isAlone: boolean
  /** From when on the process may use its share. */
  readonly aloneFrom: number
  readonly keepsToShare: (now: number) => boolean
  /** Asks the store; undefined where it is gone. */
  readonly ask: (question: Question) => Effect.Effect<Granted | undefined>
}

/** Keeps looking after the store, once it is gone, until the scope closes. */
export const make = Effect.fnUntraced(function* (
  store: Store,
  processes: number
): Effect.fn.Return<SharedStore, never, Scope.Scope> {
  const scope = yield* Effect.scope
  let isAlone = false
  let aloneFrom = Number.NEGATIVE_INFINITY
  let shareUntil = Number.NEGATIVE_INFINITY
  /** How far ahead the store grants, as far as this process has seen lately: so it does for the others. */
  let grantedMillis = 0
  yield* Metric.update(up, 1)
  yield* Metric.update(outages, 0)

  /** Each process asks for one request at a time, or a few where there are many in a second, and may have to pay for another. */
  const longestDelay = ({ refillRate }: Question): number =>
    Math.max(maxDelayMillis, 2 * processes * Duration.toMillis(refillRate))

  const tryToAsk = (question: Question): Effect.Effect<Granted, unknown> =>
    store.tokenBucket(question).pipe(
      Effect.timeout(answerMillis),
      Effect.filterOrFail(
        (granted) => delayOf(granted, question) <= longestDelay(question),
        () => new Cause.IllegalArgumentError("The store would make wait for more than 30 seconds")
      ),
      Effect.tap((granted) =>
        Effect.sync(() => {
          grantedMillis = Math.min(maxGrantedMillis, Math.max(delayOf(granted, question), grantedMillis * 0.9))
        })
      )
    )

  /** Asks for nothing, so that nothing is taken from the others, until there is an answer. */
  const lookAfter = (question: Question) =>
    Effect.gen(function* () {
      yield* Effect.sleep(probeMillis)
      return yield* tryToAsk({ ...question, tokens: 0 })
    }).pipe(
      // Defects of a store are outages too.
      Effect.sandbox,
      Effect.eventually,
      Effect.andThen(currentMonotonicMillis),
      Effect.tap((now) => {
        isAlone = false
        shareUntil = now + returnMillis
        return Metric.update(up, 1)
      }),
      Effect.andThen(Effect.logInfo("The store of the rate limits answers again"))
    )

  const goAlone = (cause: Cause.Cause<unknown>, question: Question) =>
    Effect.flatMap(currentMonotonicMillis, (now) => {
      if (isAlone) return Effect.void
      isAlone = true
      aloneFrom = now + windowMillis + grantedMillis
      return Effect.all([
        Metric.update(up, 0),
        Metric.update(outages, 1),
        Effect.logWarning(
          `The store of the rate limits failed; until it answers again, this process keeps to 1/${processes} of each limit`,
          cause
        ),
        Effect.forkIn(lookAfter(question), scope)
      ])
    })

  return {
    processes,
    get isAlone() {
      return isAlone
    },
    get aloneFrom() {
      return aloneFrom
    },
    keepsToShare: (now) => isAlone || now < shareUntil,
    ask: (question) => Effect.catchCause(tryToAsk(question), (cause) => Effect.as(goAlone(cause, question), undefined))
  }
})
