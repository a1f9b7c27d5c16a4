/**
 * The store that a process's windows share, behind a circuit breaker.
 *
 * While the circuit is open, the process limits itself to its share of each limit. Neither opening nor closing may let the
 * processes together exceed a limit. After opening, the process first waits until the requests that the store granted before
 * no longer count. After closing, it keeps to its share, besides asking the store, until the other processes' circuits have
 * closed too.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { RateLimiterStore } from "effect/persistence/RateLimiter"
import type * as Scope from "effect/Scope"
import { currentMonotonicMillis } from "../monotonicMillis.ts"

type Store = RateLimiterStore["Service"]
type TokenRequest = Parameters<Store["tokenBucket"]>[0]
/** The tokens left, negative if tokens were granted ahead, and the milliseconds since the last refill. */
type TokenGrant = readonly [remaining: number, elapsed: number]

const storeTimeoutMillis = 1000
const probeIntervalMillis = 2000
/** The service's window, and some time for requests that are still on their way. */
const windowMillis = 1100
/** By then, all processes have closed their circuits, and what they sent on their own no longer counts. */
const closingMillis = storeTimeoutMillis + probeIntervalMillis + windowMillis + 400
/** How far ahead a store's grants are waited for after the circuit has opened, at most. */
const maxGrantedMillis = 5000
/** A longer delay means that the store's clock is wrong, unless that many processes are waiting. */
const maxDelayMillis = 30_000

const up = Metric.gauge("stacksapi_rate_limit_store_up", {
  description: "1 while the shared store of the rate limits responds, 0 while each process keeps to its share"
})
const outages = Metric.counter("stacksapi_rate_limit_store_outages", {
  description: "Outages of the shared store of the rate limits",
  incremental: true
})

/** Milliseconds until the last token of a grant is refilled. */
const delayOf = ([remaining, elapsed]: TokenGrant, { refillRate }: TokenRequest): number =>
  Math.max(0, Math.ceil(-remaining) * Duration.toMillis(refillRate) - elapsed)

export interface SharedStore {
  /** How many processes share each limit while the circuit is open. */
  readonly processes: number
  readonly isOpen: boolean
  /** While the circuit is open: from when on the process may use its share. */
  readonly shareFrom: number
  /** Whether the process keeps to its share: while the circuit is open, and for some time after. */
  readonly keepsToShare: (now: number) => boolean
  /** Takes tokens. If that fails, opens the circuit and gives undefined. */
  readonly takeTokens: (request: TokenRequest) => Effect.Effect<TokenGrant | undefined>
}

/** Makes a store whose circuit is closed. Probes of an open circuit end with the scope. */
export const make = Effect.fnUntraced(function* (
  store: Store,
  processes: number
): Effect.fn.Return<SharedStore, never, Scope.Scope> {
  const scope = yield* Effect.scope
  let isOpen = false
  let shareFrom = Number.NEGATIVE_INFINITY
  let shareUntil = Number.NEGATIVE_INFINITY
  /** How far ahead the store has granted tokens to this process lately, which is an estimate for the others. */
  let grantedMillis = 0
  yield* Metric.update(up, 1)
  yield* Metric.update(outages, 0)

  /** Each process asks for one request at a time (a few if the limit is high), and may have to pay for another one. */
  const longestDelay = ({ refillRate }: TokenRequest): number =>
    Math.max(maxDelayMillis, 2 * processes * Duration.toMillis(refillRate))

  const tryTakeTokens = (request: TokenRequest): Effect.Effect<TokenGrant, unknown> =>
    store.tokenBucket(request).pipe(
      Effect.timeout(storeTimeoutMillis),
      Effect.filterOrFail(
        (grant) => delayOf(grant, request) <= longestDelay(request),
        () => new Cause.IllegalArgumentError("The store asks to wait for more than 30 seconds")
      ),
      Effect.tap((grant) =>
        Effect.sync(() => {
          grantedMillis = Math.min(maxGrantedMillis, Math.max(delayOf(grant, request), grantedMillis * 0.9))
        })
      )
    )

  /** Half-open: probes the store until it answers, then closes the circuit. A probe takes no tokens. */
  const probe = (request: TokenRequest) =>
    Effect.gen(function* () {
      yield* Effect.sleep(probeIntervalMillis)
      return yield* tryTakeTokens({ ...request, tokens: 0 })
    }).pipe(
      // A defect of a store counts as a failure.
      Effect.sandbox,
      Effect.eventually,
      Effect.andThen(currentMonotonicMillis),
      Effect.tap((now) => {
        isOpen = false
        shareUntil = now + closingMillis
        return Metric.update(up, 1)
      }),
      Effect.andThen(Effect.logInfo("The store of the rate limits responds again"))
    )

  const openCircuit = (cause: Cause.Cause<unknown>, request: TokenRequest) =>
    Effect.flatMap(currentMonotonicMillis, (now) => {
      if (isOpen) return Effect.void
      isOpen = true
      shareFrom = now + windowMillis + grantedMillis
      return Effect.all([
        Metric.update(up, 0),
        Metric.update(outages, 1),
        Effect.logWarning(
          `The store of the rate limits failed; until it answers again, this process keeps to 1/${processes} of each limit`,
          cause
        ),
        Effect.forkIn(probe(request), scope)
      ])
    })

  return {
    processes,
    get isOpen() {
      return isOpen
    },
    get shareFrom() {
      return shareFrom
    },
    keepsToShare: (now) => isOpen || now < shareUntil,
    takeTokens: (request) =>
      Effect.catchCause(tryTakeTokens(request), (cause) => Effect.as(openCircuit(cause, request), undefined))
  }
})
