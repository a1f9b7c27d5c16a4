/** One-second sliding windows, one for each stack and scope. */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Limit } from "../../StacksApi.ts"

const windowMillis = 1000

/** What one request finds: its window, and whether it still fits in. */
export interface Admission {
  readonly limit: Limit["Service"]
  readonly admitted: boolean
  /** The requests counted in the window, this one included where it was admitted. */
  readonly current: number
  /** Seconds until the window has room. */
  readonly reset: number
}

export interface RateLimiter {
  /** Counts a request, unless it does not fit. */
  readonly admit: (stackKey: string, limit: Admission["limit"], now: number) => Admission
}

/** What a request finds that is not counted. */
export const untouched = (limit: Admission["limit"]): Admission => ({ limit, admitted: true, current: 0, reset: 1 })

/** Every request fits: nothing is counted. */
export const unlimited: RateLimiter = { admit: (_stackKey, limit) => untouched(limit) }

export const make = (): RateLimiter => {
  const windows = new Map<string, Array<number>>()
  return {
    admit: (stackKey, limit, now) => {
      const key = `${stackKey} ${limit.scope}`
      const admissions = windows.get(key) ?? []
      windows.set(key, admissions)
      const stale = admissions.findIndex((time) => time > now - windowMillis)
      admissions.splice(0, stale === -1 ? admissions.length : stale)
      const admitted = admissions.length < limit.limit
      if (admitted) admissions.push(now)
      const oldest = admissions[0] ?? now
      return { limit, admitted, current: admissions.length, reset: Math.ceil((oldest + windowMillis - now) / 1000) }
    }
  }
}

/** The headers that every response carries. */
export const headers = ({ current, limit, reset }: Admission) => ({
  "ratelimit-scope": limit.scope,
  "ratelimit-limit": String(limit.limit),
  "ratelimit-remaining": String(limit.limit - current),
  "ratelimit-reset": String(reset)
})

export const tooManyRequests = ({ current, limit, reset }: Admission) =>
  HttpServerResponse.jsonUnsafe(
    {
      message: `Rate limit exceeded. Please wait ${reset} second before making more requests.`,
      scope: limit.scope,
      limit: limit.limit,
      current,
      reset
    },
    { status: 429, headers: { "retry-after": String(reset) } }
  )
