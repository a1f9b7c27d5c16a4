/** The limiter: finds the window that counts a call, and delays the call until the window admits it. */
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
import { updateGauges } from "./metrics.ts"
import type { Admission, Report, SlidingWindow } from "./slidingWindow.ts"

/** The longest pause. A longer `Retry-After` is cut to this. */
const maxPauseMillis = 5 * 60_000
/** The pause after a 429 without a time. */
const defaultPauseMillis = 1000
/** How often idle windows are removed. */
const sweepMillis = 60_000

/** Makes a limiter. `makeWindow` gets a key, which names the scope and the stack, and the limit. */
export const make = (makeWindow: (key: string, limit: number) => SlidingWindow): RateLimit.Limiter => {
  const windows = new Windows(makeWindow)
  return {
    limit: (call, attempt) => {
      // The service counts requests by stack, so requests without one are not limited.
      if (call.stackKey === "") return attempt(() => undefined)
      return Effect.uninterruptibleMask((restore) =>
        Effect.contextWith((context: Context.Context<never>) => {
          const clock = Context.get(context, Clock.Clock)
          const start = monotonicMillis(clock)
          const window = windows.find(call, start)
          const admission = window.waiters.size > 0 ? undefined : admitNow(window, start)
          const run = (admission: Admission) =>
            Effect.suspend(() => {
              admission.state = "Sent"
              return attempt((observation) => {
                const now = monotonicMillis(clock)
                const report = makeReport(observation)
                window.onResponse(admission, now)
                windows.learn(call, report)
                updateGauges(call.operation, report, context)
                // The report may name another scope, which is another window than the one that counted the request.
                windows.find(call, now).applyReport(report, admission, now)
              })
            }).pipe(
              restore,
              Effect.onExit(() => Effect.sync(() => window.onEnd(admission, monotonicMillis(clock))))
            )
          return admission === undefined
            ? Effect.flatMap(measured(call.operation, start, clock, waitForAdmission(window, clock, restore)), run)
            : run(admission)
        })
      )
    }
  }
}

const admitNow = (window: SlidingWindow, now: number): Admission | undefined =>
  window.prepare(now) === undefined && window.nextAt(now) <= now ? window.admit(now) : undefined

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Labels: `operation`. */
const waits = Metric.counter("stacksapi_rate_limit_waits", {
  description: "Requests that waited for the rate limit",
  incremental: true
})

/** Labels: `operation`. */
const waitTime = Metric.histogram("stacksapi_rate_limit_wait_seconds", {
  description: "How long requests waited for the rate limit",
  boundaries: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300]
})

/** Counts a wait, and measures how long it takes. */
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
 * Waits until the call is the first waiter and the window has room. Only the waiting can be interrupted, so that a call that
 * is admitted always runs. A waiter that is removed wakes the first one.
 */
const waitForAdmission = (window: SlidingWindow, clock: Clock.Clock, restore: Restore): Effect.Effect<Admission> =>
  Effect.suspend(() => {
    const { waiters } = window
    const waiter = waiters.add()
    return Effect.gen(function* () {
      while (true) {
        waiter.latch.closeUnsafe()
        if (waiters.first !== waiter) {
          yield* restore(waiter.latch.await)
          continue
        }
        const now = monotonicMillis(clock)
        const preparation = window.prepare(now)
        if (preparation !== undefined) {
          yield* restore(preparation)
          continue
        }
        const next = window.nextAt(now)
        if (next <= now) return window.admit(now)
        // Round up to whole milliseconds: a timer that is rounded down ends too early.
        yield* restore(
          next === Number.POSITIVE_INFINITY ? waiter.latch.await : sleepOr(waiter.latch, Math.ceil(next - now))
        )
      }
    }).pipe(
      Effect.ensuring(
        Effect.suspend(() => {
          waiters.remove(waiter)
          // Opening the latch resumes the next waiter later, so this call is sent first.
          return waiters.first?.latch.open ?? Effect.void
        })
      )
    )
  })

const sleepOr = (latch: Latch.Latch, millis: number): Effect.Effect<unknown> =>
  Effect.raceFirst(Effect.sleep(millis), latch.await)

const makeReport = ({ headers, retryAfter, status }: RateLimit.Observation): Report => {
  const { limit, remaining, reset = Duration.millis(defaultPauseMillis), scope } = rateLimitStatus(headers)
  const asked = retryAfter === undefined ? 0 : Duration.toMillis(retryAfter)
  // A 429 always pauses, even if `Retry-After` is 0.
  const pause = asked === 0 && status === 429 ? Duration.toMillis(reset) : asked
  return {
    scope,
    // Ignore a limit below 1: it would stop all requests.
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
  /** The scope and limit that the service last reported for an endpoint, if they differ from the documented ones. */
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
