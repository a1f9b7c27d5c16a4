/** What the service last said of its limits, as metrics. */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { declarations, endpointOf, type Operation, type RateLimitScope } from "../api/declaration.ts"
import type { Report } from "./slidingWindow.ts"

const limit = Metric.gauge("stacksapi_rate_limit", {
  description: "Requests that the service allows in a second, as it last said"
})

const remaining = Metric.gauge("stacksapi_rate_limit_remaining", {
  description: "Requests that were left in the second of the latest response"
})

const byScope = (metric: Metric.Gauge<number>) => {
  const series = new Map<RateLimitScope, Metric.Gauge<number>>()
  return (scope: RateLimitScope): Metric.Gauge<number> => {
    const made = series.get(scope) ?? Metric.withAttributes(metric, { scope })
    series.set(scope, made)
    return made
  }
}

const limitOf = byScope(limit)
const remainingOf = byScope(remaining)

/** By the documented scope of the operation: the name that the service sends could be another one in each response. */
export const note = (operation: Operation, report: Report, context: Context.Context<never>): void => {
  if (report.limit === undefined) return
  const { scope } = declarations[endpointOf(operation)].limit
  limitOf(scope).updateUnsafe(report.limit, context)
  if (report.remaining !== undefined) remainingOf(scope).updateUnsafe(report.remaining, context)
}
