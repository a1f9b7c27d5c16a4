/** The rate limits: a sliding window of one second for each stack and scope. */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Limit } from "../../StacksApi.ts"

const windowMillis = 1000

/** The result of counting a request. */
export interface Admission {
  readonly limit: Limit["Service"]
  readonly admitted: boolean
  /** The requests of the last second, including this one and refused ones. It may exceed the limit. */
  readonly current: number
  /** Requests left in the window. */
  readonly remaining: number
  /** Seconds until the window has room. */
  readonly reset: number
}

export interface RateLimiter {
  /** Counts a request. A refused request does not use up the window. */
  readonly admit: (stackKey: string, limit: Admission["limit"], now: number) => Admission
}

/** The result for a request that is not counted. */
export const uncounted = (limit: Admission["limit"]): Admission => ({
  limit,
  admitted: true,
  current: 0,
  remaining: limit.limit,
  reset: 1
})

/** Admits every request. */
export const unlimited: RateLimiter = { admit: (_stackKey, limit) => uncounted(limit) }

export const make = (): RateLimiter => {
  const windows = new Map<string, { readonly admitted: Array<number>; readonly refused: Array<number> }>()
  return {
    admit: (stackKey, limit, now) => {
      const key = `${stackKey} ${limit.scope}`
      const window = windows.get(key) ?? { admitted: [], refused: [] }
      windows.set(key, window)
      removeExpired(window.admitted, now)
      removeExpired(window.refused, now)
      const admitted = window.admitted.length < limit.limit
      const times = admitted ? window.admitted : window.refused
      times.push(now)
      const oldest = window.admitted[0] ?? now
      return {
        limit,
        admitted,
        current: window.admitted.length + window.refused.length,
        remaining: limit.limit - window.admitted.length,
        reset: Math.ceil((oldest + windowMillis - now) / 1000)
      }
    }
  }
}

/** Removes the times that have left the window. */
const removeExpired = (times: Array<number>, now: number): void => {
  const first = times.findIndex((time) => time > now - windowMillis)
  times.splice(0, first === -1 ? times.length : first)
}

/** The headers of every response. */
export const headers = ({ limit, remaining, reset }: Admission) => ({
  "ratelimit-scope": limit.scope,
  "ratelimit-limit": String(limit.limit),
  "ratelimit-remaining": String(remaining),
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
