/** The service's clock, estimated from the `Date` headers of its responses. The machine's clock may be wrong. */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Headers from "effect/http/Headers"
import { monotonicMillis } from "../monotonicMillis.ts"
import { answeredAt } from "../responseHeaders.ts"

/**
 * The service's time, as an interval for its offset from the monotonic clock. A response's `Date` is up to a second old, and was
 * made between request and response. Each response narrows the interval. A response that contradicts it replaces it, because one of
 * the clocks was set.
 */
export class ServiceClock {
  #earliest = Number.NEGATIVE_INFINITY
  #latest = Number.POSITIVE_INFINITY

  /** Call it before a request is sent, and the result with the headers of the response. */
  expectResponse(clock: Clock.Clock): (headers: Headers.Headers) => void {
    const sentAt = monotonicMillis(clock)
    return (headers) => {
      const date = answeredAt(headers)
      if (date === undefined) return
      const earliest = date - monotonicMillis(clock)
      const latest = date + 1000 - sentAt
      const isConsistent = earliest <= this.#latest && latest >= this.#earliest
      this.#earliest = isConsistent ? Math.max(this.#earliest, earliest) : earliest
      this.#latest = isConsistent ? Math.min(this.#latest, latest) : latest
    }
  }

  /**
   * The service's time in milliseconds. If no response contradicts the machine's clock, it is the machine's time. Otherwise it is
   * the closest estimate that is not later than the service's time.
   */
  now(clock: Clock.Clock): number {
    const monotonic = monotonicMillis(clock)
    const own = clock.currentTimeMillisUnsafe()
    const offset = own - monotonic
    return offset >= this.#earliest && offset <= this.#latest ? own : Math.floor(monotonic + this.#earliest)
  }
}

/** The clock that learns from the responses of the calls in an effect. */
export const CurrentServiceClock: Context.Reference<ServiceClock | undefined> = Context.Reference(
  "@stacksapi/core/internal/ServiceClock",
  { defaultValue: (): ServiceClock | undefined => undefined }
)
