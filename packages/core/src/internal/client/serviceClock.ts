/** What time it is by the service's clock, as the `Date` headers of its responses tell: ours may be another time. */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Headers from "effect/http/Headers"
import { monotonicMillis } from "../monotonicMillis.ts"
import { answeredAt } from "../responseHeaders.ts"

/**
 * The service's time, as an interval of what has to be added to the monotonic clock: a response's `Date` is up to a second old,
 * and was made between the request and the response. Each response narrows the interval. One that contradicts it starts it anew,
 * because then one of the clocks was set.
 */
export class ServiceClock {
  private earliest = Number.NEGATIVE_INFINITY
  private latest = Number.POSITIVE_INFINITY

  /** Called when a request is about to be sent; what it returns takes the headers of the response. */
  expectResponse(clock: Clock.Clock): (headers: Headers.Headers) => void {
    const sentAt = monotonicMillis(clock)
    return (headers) => {
      const date = answeredAt(headers)
      if (date === undefined) return
      const earliest = date - monotonicMillis(clock)
      const latest = date + 1000 - sentAt
      const isConsistent = earliest <= this.latest && latest >= this.earliest
      this.earliest = isConsistent ? Math.max(this.earliest, earliest) : earliest
      this.latest = isConsistent ? Math.min(this.latest, latest) : latest
    }
  }

  /**
   * The service's time in milliseconds. That is our own time, as long as no response contradicts it; else it is never later than
   * the service's, and as near to it as its responses allow to tell.
   */
  now(clock: Clock.Clock): number {
    const monotonic = monotonicMillis(clock)
    const own = clock.currentTimeMillisUnsafe()
    const offset = own - monotonic
    return offset >= this.earliest && offset <= this.latest ? own : Math.floor(monotonic + this.earliest)
  }
}

/** The clock that hears of every response within: who wants to know the service's time provides one around the client's calls. */
export const CurrentServiceClock: Context.Reference<ServiceClock | undefined> = Context.Reference(
  "@stacksapi/core/internal/ServiceClock",
  { defaultValue: (): ServiceClock | undefined => undefined }
)
