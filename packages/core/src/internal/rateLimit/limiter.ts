/** A limiter: finds the window that a call is counted in, and has calls wait for their turn in it. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Latch from "effect/Latch"
import * as Metric from "effect/Metric"
import type * as RateLimit from "../../RateLimit.ts"
import { type Endpoint, endpointOf, type Operation } from "../api/declaration.ts"
import { monotonicMillis } from "../monotonicMillis.ts"
import { rateLimitStatus } from "../responseHeaders.ts"
import { documentedLimit, type ScopeLimit } from "./documentedLimits.ts"
import * as Reported from "./reported.ts"
import type { Report, SlidingWindow, Slot } from "./slidingWindow.ts"

/** A `Retry-After` beyond this is not believed. */
const maxPauseMillis = 5 * 60_000
/** Where the service does not say when to go on. */
const defaultPauseMillis = 1000
/** How often windows that nobody uses are dropped. */
const sweepMillis = 60_000

/** Makes a limiter from windows; each of them is made for a key, which names the stack and the scope, and a limit. */
export const make = (makeWindow: (key: string, limit: number) => SlidingWindow): RateLimit.Limiter => {
  const windows = new Windows(makeWindow)
  return {
    limit: (call, attempt) => {
      // Limits are a stack's own.
      if (call.stackKey === "") return attempt(() => undefined)
      return Effect.uninterruptibleMask((restore) =>
        Effect.contextWith((context: Context.Context<never>) => {
          const clock = Context.get(context, Clock.Clock)
          const start = monotonicMillis(clock)
          const window = windows.find(call, start)
          const slot = window.line.first !== undefined ? undefined : takeIfFree(window, start)
          const run = (slot: Slot) =>
            Effect.suspend(() => {
              slot.state = "Sent"
              return attempt((observation) => {
                const now = monotonicMillis(clock)
                const report = makeReport(observation)
                window.answer(slot, now)
                windows.learn(call, report)
                Reported.note(call.operation, report, context)
                // It may be another one than the request was counted in.
                windows.find(call, now).correct(report, slot, now)
              })
            }).pipe(
              restore,
              Effect.onExit(() => Effect.sync(() => window.end(slot, monotonicMillis(clock))))
            )
          return slot === undefined
            ? Effect.flatMap(measured(call.operation, start, clock, waitForSlot(window, clock, restore)), run)
            : run(slot)
        })
      )
    }
  }
}

const takeIfFree = (window: SlidingWindow, now: number): Slot | undefined =>
  window.prepare(now) === undefined && window.nextAt(now) <= now ? window.take(now) : undefined

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const waits = Metric.counter("stacksapi_rate_limit_waits", {
  description: "Requests that had to wait for the rate limit",
  incremental: true
})

const waitTime = Metric.histogram("stacksapi_rate_limit_wait_seconds", {
  description: "How long requests waited for the rate limit",
  boundaries: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300]
})

/** Counts a wait, and takes its time. */
const measured = <A>(
  operation: Operation,
  start: number,
  clock: Clock.Clock,
  wait: Effect.Effect<A>
): Effect.Effect<A> =>
  Metric.update(Metric.withAttributes(waits, { operation }), 1).pipe(
    Effect.andThen(wait),
    Effect.onExit(() =>
      Metric.update(Metric.withAttributes(waitTime, { operation }), (monotonicMillis(clock) - start) / 1000)
    )
  )

/**
 * Waits in the line. Only the waiting itself can be interrupted, so that a slot is never taken for nobody; whoever leaves the
 * line wakes the first one in it.
 */
const waitForSlot = (window: SlidingWindow, clock: Clock.Clock, restore: Restore): Effect.Effect<Slot> =>
  Effect.suspend(() => {
    const { line } = window
    const place = line.join()
    return Effect.gen(function* () {
      while (true) {
        place.latch.closeUnsafe()
        if (line.first !== place) {
          yield* restore(place.latch.await)
          continue
        }
        const now = monotonicMillis(clock)
        const preparation = window.prepare(now)
        if (preparation !== undefined) {
          yield* restore(preparation)
          continue
        }
        const next = window.nextAt(now)
        if (next <= now) return window.take(now)
        // Whole milliseconds: a shorter sleep may end before it began, by rounding.
        yield* restore(
          next === Number.POSITIVE_INFINITY ? place.latch.await : sleepOr(place.latch, Math.ceil(next - now))
        )
      }
    }).pipe(
      Effect.ensuring(
        Effect.suspend(() => {
          line.leave(place)
          // In a turn of its own: this call goes first.
          return line.first?.latch.open ?? Effect.void
        })
      )
    )
  })

const sleepOr = (latch: Latch.Latch, millis: number): Effect.Effect<unknown> =>
  Effect.raceFirst(Effect.sleep(millis), latch.await)

const makeReport = ({ headers, retryAfter, status }: RateLimit.Observation): Report => {
  const { limit, remaining, reset = Duration.millis(defaultPauseMillis), scope } = rateLimitStatus(headers)
  const asked = retryAfter === undefined ? 0 : Duration.toMillis(retryAfter)
  // A 429 means a pause in any case, also with a `Retry-After` of 0.
  const pause = asked === 0 && status === 429 ? Duration.toMillis(reset) : asked
  return {
    scope,
    // A limit below one request would be none at all.
    limit: limit !== undefined && limit >= 1 ? Math.floor(limit) : undefined,
    remaining,
    reset: Math.min(Duration.toMillis(reset), maxPauseMillis),
    pause: Math.min(pause, maxPauseMillis)
  }
}

/** The windows of all stacks and scopes. */
class Windows {
  readonly #makeWindow: (key: string, limit: number) => SlidingWindow
  readonly #windows = new Map<string, SlidingWindow>()
  /** What the service last said each endpoint is counted under; the documented scope and limit may not be its own. */
  readonly #learned = new Map<Endpoint, ScopeLimit>()
  #sweptAt = Number.NEGATIVE_INFINITY

  constructor(makeWindow: (key: string, limit: number) => SlidingWindow) {
    this.#makeWindow = makeWindow
  }

  find({ operation, stackKey }: RateLimit.Call, now: number): SlidingWindow {
    if (now - this.#sweptAt >= sweepMillis) this.#sweep(now)
    const { limit, scope } = this.#limitOf(endpointOf(operation))
    const key = `${scope}:${stackKey}`
    let window = this.#windows.get(key)
    if (window === undefined) {
      window = this.#makeWindow(key, limit)
      this.#windows.set(key, window)
    }
    return window
  }

  learn({ operation }: RateLimit.Call, { limit, scope }: Report): void {
    if (scope === undefined || limit === undefined) return
    const endpoint = endpointOf(operation)
    const known = this.#limitOf(endpoint)
    if (known.scope !== scope || known.limit !== limit) this.#learned.set(endpoint, { scope, limit })
  }

  #limitOf(endpoint: Endpoint): ScopeLimit {
    return this.#learned.get(endpoint) ?? documentedLimit(endpoint)
  }

  #sweep(now: number): void {
    this.#sweptAt = now
    for (const [key, window] of this.#windows) {
      if (window.isIdle(now)) this.#windows.delete(key)
    }
  }
}
