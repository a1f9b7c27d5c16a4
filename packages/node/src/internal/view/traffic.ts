/** How much the stacks of the process ask of the service, and what of each rate limit that leaves. */
import * as StacksApi from "@stacksapi/core/StacksApi"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

/** One limit, and how much of it was used in the last second. */
export interface Scope {
  readonly name: string
  readonly limit: number
  readonly used: number
}

export interface Traffic {
  /** Requests in the last second. */
  readonly rate: number
  /** The limits that requests have been counted under. */
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

/** The limit of each operation that a stack has counted. */
const limits = new Map(
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
  readonly retries: number
  readonly waits: number
}

const windowMillis = 1000

const readCounts = (now: number) =>
  Effect.map(Metric.snapshot, (snapshots): Counts => {
    const byScope = new Map<StacksApi.RateLimitScope, number>()
    let total = 0
    let retries = 0
    let waits = 0
    for (const { attributes, id, state, type } of snapshots) {
      if (type !== "Counter") continue
      const count = Number(state.count)
      if (id === "stacksapi_retries") retries += count
      if (id === "stacksapi_rate_limit_waits") waits += count
      if (id !== "stacksapi_requests") continue
      total += count
      const limit = limits.get(attributes?.["operation"] ?? "")
      if (limit !== undefined) byScope.set(limit.scope, (byScope.get(limit.scope) ?? 0) + count)
    }
    return { at: now, total, byScope, retries, waits }
  })

/** Gives what measures: each time it is run it looks at the metrics, and compares with what they were a second ago. */
export const make = Effect.fnUntraced(function* (startedAt: number) {
  const start = yield* readCounts(startedAt)
  let samples: ReadonlyArray<Sample> = [start]
  return (now: number): Effect.Effect<Traffic> =>
    Effect.map(readCounts(now), (current) => {
      const first = samples.findLast(({ at }) => at <= now - windowMillis) ?? start
      samples = [...samples.filter(({ at }) => at >= first.at), current]
      return {
        rate: current.total - first.total,
        scopes: Array.from(limits.values())
          .filter(({ scope }, index, all) => all.findIndex((other) => other.scope === scope) === index)
          .filter(({ scope }) => (current.byScope.get(scope) ?? 0) > (start.byScope.get(scope) ?? 0))
          .map(({ limit, scope }) => ({
            name: names[scope],
            limit,
            used: (current.byScope.get(scope) ?? 0) - (first.byScope.get(scope) ?? 0)
          })),
        requests: current.total - start.total,
        retries: current.retries - start.retries,
        waits: current.waits - start.waits
      }
    })
})
