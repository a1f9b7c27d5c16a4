/** The requests of this process, and how much of each rate limit they use. Read from the metrics of the process. */
import * as StacksApi from "@stacksapi/core/StacksApi"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

/** A rate limit, by the last response or else by the documentation, and how much of it was used in the last second. */
interface Scope {
  readonly name: string
  readonly limit: number
  readonly used: number
}

export interface Traffic {
  /** Requests in the last second. */
  readonly rate: number
  /** The limits that requests were counted under. */
  readonly scopes: ReadonlyArray<Scope>
  /** Since the view began. */
  readonly requests: number
  readonly retries: number
  /** Requests that had to wait for a rate limit, since the view began. */
  readonly waits: number
}

const names: Record<StacksApi.RateLimitScope, string> = {
  "list-scheduled-jobs": "list",
  "batch-reserve": "reserve",
  "show-job": "job",
  "batch-load-job-states": "states",
  "finish-job": "finish",
  "stack-notification": "notify",
  default: "other"
}

const { endpoints } = StacksApi.StacksApi.groups.stacks

/** The documented limit of each operation. */
const documented = new Map(
  Object.entries(endpoints).flatMap(([operation, { annotations }]) => {
    const limit = Context.getOrUndefined(annotations, StacksApi.Limit)
    return limit === undefined ? [] : [[operation, limit] as const]
  })
)

interface Sample {
  readonly at: number
  readonly total: number
  readonly byScope: ReadonlyMap<StacksApi.RateLimitScope, number>
}

interface Counts extends Sample {
  /** From the latest responses of the service. */
  readonly limits: ReadonlyMap<string, number>
  readonly remaining: ReadonlyMap<string, number>
  readonly retries: number
  readonly waits: number
}

const windowMillis = 1000

const readCounts = (now: number) =>
  Effect.map(Metric.snapshot, (snapshots): Counts => {
    const byScope = new Map<StacksApi.RateLimitScope, number>()
    const limits = new Map<string, number>()
    const remaining = new Map<string, number>()
    let total = 0
    let retries = 0
    let waits = 0
    for (const { attributes, id, state, type } of snapshots) {
      const scope = attributes?.["scope"]
      if (type === "Gauge" && scope !== undefined) {
        if (id === "stacksapi_rate_limit") limits.set(scope, Number(state.value))
        if (id === "stacksapi_rate_limit_remaining") remaining.set(scope, Number(state.value))
      }
      if (type !== "Counter") continue
      const count = Number(state.count)
      if (id === "stacksapi_retries") retries += count
      if (id === "stacksapi_rate_limit_waits") waits += count
      if (id !== "stacksapi_requests") continue
      total += count
      const limit = documented.get(attributes?.["operation"] ?? "")
      if (limit !== undefined) byScope.set(limit.scope, (byScope.get(limit.scope) ?? 0) + count)
    }
    return { at: now, total, byScope, limits, remaining, retries, waits }
  })

/** Returns a function that reads the metrics and compares them with those of a second ago. */
export const make = Effect.fnUntraced(function* (startedAt: number) {
  const start = yield* readCounts(startedAt)
  let samples: ReadonlyArray<Sample> = [start]
  return (now: number): Effect.Effect<Traffic> =>
    Effect.map(readCounts(now), (current) => {
      const first = samples.findLast(({ at }) => at <= now - windowMillis) ?? start
      samples = [...samples.filter(({ at }) => at >= first.at), current]
      return {
        rate: current.total - first.total,
        scopes: Array.from(documented.values())
          .filter(({ scope }, index, all) => all.findIndex((other) => other.scope === scope) === index)
          .filter(({ scope }) => (current.byScope.get(scope) ?? 0) > (start.byScope.get(scope) ?? 0))
          .map((documented) => {
            const { scope } = documented
            const own = (current.byScope.get(scope) ?? 0) - (first.byScope.get(scope) ?? 0)
            const limit = current.limits.get(scope) ?? documented.limit
            // Other processes may use the limit too. A response from before the last second is out of date.
            const all = own === 0 ? 0 : limit - (current.remaining.get(scope) ?? limit)
            return { name: names[scope], limit, used: Math.max(own, all) }
          }),
        requests: current.total - start.total,
        retries: current.retries - start.retries,
        waits: current.waits - start.waits
      }
    })
})
